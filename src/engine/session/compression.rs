//! The compression of a core: its compressors, and the number of sessions with compression streams of their own.
//!
//! Invariant: a core has one set of compressors, made when a message is first to be compressed.

use crate::engine::limits::Limits;
use crate::protocol::Connection;
use crate::protocol::deflate::{Agreement, Compression, Compressors, WindowBits};
use crate::protocol::handshake::{Answer, Extension, answer};

/// See the module.
#[derive(Default)]
pub(in crate::engine) struct Compressing {
    compressors: Option<Box<Compressors>>,
    /// Sessions with context takeover, which may keep compression streams of their own.
    contexts: usize,
    /// The parameters for sessions that agreed on compression before a reload turned it off.
    former: Option<Compression>,
}

impl Compressing {
    /// Returns the answer to a client's offers of compression; `None` if the session stays uncompressed.
    pub(in crate::engine) fn answer<'a>(
        &self,
        limits: &Limits,
        offers: impl Iterator<Item = Extension<'a>>,
    ) -> Option<Answer> {
        let compression = limits.compression.as_ref()?;
        if compression.context_takeover && self.contexts >= limits.compression_contexts_max {
            return answer(offers, &Compression { context_takeover: false, ..compression.clone() });
        }
        answer(offers, compression)
    }

    /// Replaces the parameters. Sessions keep the windows that they agreed on, and streams of their own; everything
    /// else is compressed as the new parameters say, or as the former ones do if there are no new ones.
    pub(in crate::engine) fn replace(&mut self, former: &Limits, new: &Limits) {
        if former.compression == new.compression {
            return;
        }
        if new.compression.is_some() {
            self.compressors = None;
        } else {
            self.former = former.compression.clone();
        }
    }

    /// Counts a session that has opened.
    pub(in crate::engine) fn note_opened(&mut self, agreement: Option<Agreement>) {
        self.contexts += usize::from(keeps_streams(agreement));
    }

    /// Counts a session that has ended.
    pub(in crate::engine) fn note_ended(&mut self, agreement: Option<Agreement>) {
        self.contexts -= usize::from(keeps_streams(agreement));
    }

    /// Returns the compressors, if messages to the session are compressed.
    #[inline]
    pub(in crate::engine) fn compressors_for(
        &mut self,
        connection: &Connection,
        limits: &Limits,
    ) -> Option<&mut Compressors> {
        self.window_and_compressors(connection, limits).1
    }

    /// Returns the window for shared frames to a session, and the compressors; `None` if they are sent uncompressed.
    /// The session's own stream begins anew after them.
    #[inline]
    pub(in crate::engine) fn for_shared_frames(
        &mut self,
        connection: &mut Connection,
        limits: &Limits,
    ) -> (Option<WindowBits>, Option<&mut Compressors>) {
        let with = self.window_and_compressors(connection, limits);
        if with.0.is_some() {
            connection.forget_sent();
        }
        with
    }

    #[inline]
    fn window_and_compressors(
        &mut self,
        connection: &Connection,
        limits: &Limits,
    ) -> (Option<WindowBits>, Option<&mut Compressors>) {
        let Some(window) = connection.compresses_with() else { return (None, None) };
        if self.compressors.is_none() {
            let compression = limits.compression.as_ref().or(self.former.as_ref());
            self.compressors = compression.map(|compression| Box::new(Compressors::new(compression)));
        }
        (Some(window), self.compressors.as_deref_mut())
    }

    /// Takes the compressors, if there are any, to write a message with them.
    pub(in crate::engine) fn take(&mut self) -> Option<Box<Compressors>> {
        self.compressors.take()
    }

    /// Puts back the compressors that were taken.
    pub(in crate::engine) fn put_back(&mut self, compressors: Box<Compressors>) {
        self.compressors = Some(compressors);
    }
}

fn keeps_streams(agreement: Option<Agreement>) -> bool {
    agreement.is_some_and(|agreement| agreement.has_context_takeover())
}
