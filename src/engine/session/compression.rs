//! The compression of a core: its compressors, and how many sessions keep streams of their own.
//!
//! Invariant: compressors are made when a message is first to be compressed, and there is one set of them for the core.

use crate::engine::limits::Limits;
use crate::protocol::Connection;
use crate::protocol::deflate::{Agreement, Compression, Compressors, WindowBits};
use crate::protocol::handshake::{Answer, Extension, answer};

/// See the module.
#[derive(Default)]
pub(in crate::engine) struct Compressing {
    compressors: Option<Box<Compressors>>,
    /// Sessions that may keep compression streams of their own.
    contexts: usize,
}

impl Compressing {
    /// Returns the answer to a client's offers of compression; `None` when it is left out.
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

    /// Counts a session that is opened.
    pub(in crate::engine) fn note_opened(&mut self, agreement: Option<Agreement>) {
        self.contexts += usize::from(keeps_streams(agreement));
    }

    /// Counts a session that has ended.
    pub(in crate::engine) fn note_ended(&mut self, agreement: Option<Agreement>) {
        self.contexts -= usize::from(keeps_streams(agreement));
    }

    /// Returns the compressors, if the session is sent compressed messages.
    #[inline]
    pub(in crate::engine) fn compressors_for(
        &mut self,
        connection: &Connection,
        limits: &Limits,
    ) -> Option<&mut Compressors> {
        self.window_and_compressors(connection, limits).1
    }

    /// Returns the window that a session is sent shared frames with, and the compressors; `None` when it is sent plain ones. The
    /// session's own stream begins anew after them.
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
            self.compressors = limits.compression.as_ref().map(|compression| Box::new(Compressors::new(compression)));
        }
        (Some(window), self.compressors.as_deref_mut())
    }

    /// Takes the compressors, if there are any, for a message that is written meanwhile.
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
