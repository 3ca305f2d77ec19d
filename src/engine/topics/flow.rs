//! The messages that were published to a topic and not yet delivered to its subscribers on this core.
//!
//! A flow exists only while there are such messages. They are gathered during a turn, wait as batches, and are
//! delivered in rounds: a round is one visit to each subscriber. Invariant: messages are delivered in the order they
//! were published.

use std::collections::VecDeque;

use crate::protocol::deflate::{Compressors, WindowBits};
use crate::protocol::{Batch, BatchBuilder, Encoding};
use crate::reactor::Token;

/// Bytes that a round delivers to a subscriber at most, unless a single batch is larger: a few segments, which the
/// socket of a peer that keeps up accepts at once.
const ROUND_BYTES_MAX: usize = 64 * 1024;

/// Returns the limit of a round where outboxes have this limit: a quarter of it, so that a peer that keeps up is never
/// taken for slow. A batch is no larger than this and one message.
pub(in crate::engine) fn round_bytes_max(outbox_bytes_max: usize) -> usize {
    (outbox_bytes_max / 4).min(ROUND_BYTES_MAX)
}

/// The senders of messages, by the message's index, for subscribers that exclude their own messages.
pub(in crate::engine) type Senders = Vec<(usize, Token)>;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct Flow {
    pub(in crate::engine) gathering: BatchBuilder,
    pub(in crate::engine) senders: Senders,
    pub(super) waiting: VecDeque<QueuedBatch>,
    pub(super) round: Option<Round>,
    /// The cursor of the round that is under way.
    pub(super) cursor: u32,
    /// The latest message, while a subscriber waits for it and for nothing else.
    pub(super) latest: Option<Latest>,
    /// The number of subscribers that wait for it.
    pub(super) lagging: u32,
    /// The topic is on a list of those that have something to deliver.
    pub(super) active: bool,
}

impl Flow {
    /// Returns whether nothing is left to deliver.
    pub(super) fn is_over(&self) -> bool {
        self.gathering.messages() == 0
            && self.waiting.is_empty()
            && self.round.is_none()
            && self.lagging == 0
            && !self.active
    }

    /// Takes as many batches as fit into a round.
    pub(super) fn begin_round(&mut self, round_bytes_max: usize) -> Option<Round> {
        let mut batches = vec![self.waiting.pop_front()?];
        let mut bytes = batches[0].batch.bytes();
        while let Some(next) = self.waiting.front() {
            bytes += next.batch.bytes();
            if bytes > round_bytes_max {
                bytes -= next.batch.bytes();
                break;
            }
            batches.extend(self.waiting.pop_front());
        }
        Some(Round::new(batches, bytes))
    }
}

/// A batch that waits to be delivered.
#[derive(Debug)]
pub(in crate::engine) struct QueuedBatch {
    pub(in crate::engine) batch: Batch,
    pub(in crate::engine) senders: Senders,
    /// Another core refers to the batch too.
    pub(in crate::engine) is_shared: bool,
}

/// The latest message of a topic.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Latest {
    pub(in crate::engine) batch: Batch,
    pub(in crate::engine) sender: Option<Token>,
}

/// The batches that one visit delivers to each subscriber.
#[derive(Debug)]
pub(in crate::engine) struct Round {
    batches: Vec<QueuedBatch>,
    plain: Encoding,
    compressed: Vec<(WindowBits, Encoding)>,
    latest: Option<Latest>,
    /// The senders of its messages, in the order of sessions.
    senders: Senders,
    /// The bytes it counts for in the topic backlog.
    pub(in crate::engine) bytes: usize,
}

impl Round {
    fn new(mut batches: Vec<QueuedBatch>, bytes: usize) -> Self {
        let mut senders = Senders::new();
        let mut messages = 0;
        for queued in &mut batches {
            senders.extend(queued.senders.drain(..).map(|(message, sender)| (messages + message, sender)));
            messages += queued.batch.messages();
        }
        // The sort is stable, so that the messages of one sender keep their order.
        senders.sort_by_key(|(_, sender)| sender.index);
        let plain = with_local_count(&batches, Encoding::concat(batches.iter().map(|queued| queued.batch.plain())));
        Self { batches, plain, compressed: Vec::new(), latest: None, senders, bytes }
    }

    pub(in crate::engine) fn messages(&self) -> usize {
        self.plain.messages()
    }

    /// Returns the messages as they are sent to a subscriber with this window, if any. Only the first call encodes.
    #[inline]
    pub(in crate::engine) fn encoding(
        &mut self,
        window: Option<WindowBits>,
        compressors: Option<&mut Compressors>,
    ) -> &Encoding {
        let (Some(window), Some(compressors)) = (window, compressors) else { return &self.plain };
        let known = self.compressed.iter().position(|(of, _)| *of == window);
        let at = known.unwrap_or_else(|| {
            let parts: Vec<_> = self
                .batches
                .iter()
                .map(|queued| queued.batch.encoding(Some(window), Some(compressors)).clone())
                .collect();
            self.compressed.push((window, with_local_count(&self.batches, Encoding::concat(parts.iter()))));
            self.compressed.len() - 1
        });
        &self.compressed[at].1
    }

    /// Returns its last message alone. Only the first call copies it.
    pub(in crate::engine) fn latest(&mut self) -> Option<Latest> {
        if self.latest.is_none() {
            let batch = self.batches.last()?.batch.last()?;
            let last = self.messages() - 1;
            let sender = self.senders.iter().find(|(message, _)| *message == last).map(|(_, sender)| *sender);
            self.latest = Some(Latest { batch, sender });
        }
        self.latest.clone()
    }

    /// Returns whether a subscriber may exclude some of its messages.
    #[inline]
    pub(in crate::engine) fn has_senders(&self) -> bool {
        !self.senders.is_empty()
    }

    /// Returns the indexes of the messages that a session published and excludes. Costs a binary search.
    pub(in crate::engine) fn own_messages(&self, token: Token) -> impl Iterator<Item = usize> {
        let from = self.senders.partition_point(|(_, sender)| sender.index < token.index);
        let of_index = self.senders[from..].iter().take_while(move |(_, sender)| sender.index == token.index);
        of_index.filter(move |(_, sender)| *sender == token).map(|(message, _)| *message)
    }
}

/// Gives frames that another core refers to a reference count of this core. Otherwise the cores would compete for the
/// cache line of one count, thousands of times for a round.
fn with_local_count(batches: &[QueuedBatch], encoding: Encoding) -> Encoding {
    match batches {
        [only] if only.is_shared => encoding.with_own_count(),
        _ => encoding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Message;
    use crate::protocol::deflate::{Compress, Compression};

    fn queued(messages: &[&str], senders: Senders, is_shared: bool) -> QueuedBatch {
        let mut builder = BatchBuilder::default();
        messages.iter().for_each(|message| builder.push(Message::Text(message), Compress::Always));
        QueuedBatch { batch: builder.finish(), senders, is_shared }
    }

    const SENDER: Token = Token { index: 7, generation: 1 };

    #[test]
    fn a_round_takes_what_waits_as_far_as_there_is_room() {
        let mut flow = Flow::default();
        let long = "x".repeat(30_000);
        for _ in 0..5 {
            flow.waiting.push_back(queued(&["short", &long], vec![(1, SENDER)], false));
        }
        let mut round = flow.begin_round(ROUND_BYTES_MAX).unwrap();
        assert_eq!((round.messages(), flow.waiting.len()), (4, 3));
        assert_eq!(round.own_messages(SENDER).collect::<Vec<_>>(), [1, 3]);
        assert!(round.own_messages(Token { generation: 2, ..SENDER }).next().is_none());
        assert_eq!(round.latest().unwrap().sender, Some(SENDER));
        assert_eq!(
            (
                flow.begin_round(ROUND_BYTES_MAX).unwrap().messages(),
                flow.begin_round(ROUND_BYTES_MAX).unwrap().messages()
            ),
            (4, 2)
        );
        assert!(flow.begin_round(ROUND_BYTES_MAX).is_none() && flow.is_over());
        flow.waiting.push_back(queued(&[&"x".repeat(3 * ROUND_BYTES_MAX)], Vec::new(), false));
        assert_eq!(flow.begin_round(ROUND_BYTES_MAX).unwrap().messages(), 1, "one batch is never too large");
    }

    #[test]
    fn a_round_is_encoded_once_for_each_window() {
        let text = "compressible, ".repeat(100);
        let mut flow = Flow::default();
        flow.waiting.push_back(queued(&[&text, "b"], Vec::new(), true));
        flow.waiting.push_back(queued(&[&text], Vec::new(), true));
        let mut round = flow.begin_round(ROUND_BYTES_MAX).unwrap();
        let mut compressors = Compressors::new(&Compression::default());
        let wide = round.encoding(Some(WindowBits::MAX), Some(&mut compressors)).frames().clone();
        assert_eq!(round.encoding(Some(WindowBits::MAX), Some(&mut compressors)).frames().as_ptr(), wide.as_ptr());
        let plain = round.encoding(None, Some(&mut compressors)).frames().clone();
        assert!(wide.len() < plain.len() / 4);
        assert_eq!(round.encoding(Some(WindowBits::MAX), None).frames().as_ptr(), plain.as_ptr());
        assert_eq!(&round.latest().unwrap().batch.plain().frames()[4..], text.as_bytes());
    }
}
