//! The conformance suite: properties of every reactor, written once and run against each implementation.
//!
//! `suite!(runs, world)` makes one test of each property; `world` takes a run's number and returns a [`World`].
//! `kernel_suite!(constructor)` adds the properties of reactors on the real kernel. Never depends on one
//! implementation. Invariant: a test waits by entering the reactor, never by sleeping.

mod accepting;
mod connecting;
mod ending;
mod loopback;
mod reading;
mod sending;
mod steps;
mod unix;
mod waiting;

use std::fs;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Chunks, Completion, Reactor, Socket, Sockets, Token};
pub use accepting::*;
pub use connecting::*;
pub use ending::*;
pub use loopback::*;
pub use reading::*;
pub use sending::*;
use steps::*;
pub use unix::*;
pub use waiting::*;

/// Enters before a test gives up waiting; on the real kernel each takes up to a millisecond.
const PATIENCE: usize = 20_000;

/// A reactor, and the clients it is tested with.
pub trait World {
    type Reactor: Reactor;
    type Client: Client;

    fn reactor(&mut self) -> &mut Self::Reactor;
    /// Opens a listener, which the world closes at the end.
    fn listen(&mut self) -> Socket;
    /// Connects to the listener opened last.
    fn connect(&mut self) -> Self::Client;
    /// Makes the buffers of a connection small, and keeps the host from enlarging them, unless they are small anyway.
    fn narrow(&mut self, _client: &Self::Client, _socket: Socket) {}
    /// Returns more bytes than fit into the buffers between a server and a client that does not read, once they are
    /// small.
    fn too_much(&self) -> usize;
    /// Returns whether no spurious completion occurs here, so that the absence of one can be tested.
    fn is_exact(&self) -> bool;
}

/// The other end of a connection. None of its calls waits.
pub trait Client {
    fn address(&self) -> SocketAddr;
    fn write(&mut self, bytes: &[u8]);
    /// Returns the bytes received since the last call.
    fn read(&mut self) -> Vec<u8>;
    /// Returns whether [`Client::read`] has reached the end of the stream.
    fn at_end(&mut self) -> bool;
    fn was_reset(&mut self) -> bool;
    fn finish(&mut self);
    fn reset(&mut self);
    fn stop_reading(&mut self);
    fn resume_reading(&mut self);
}

/// Makes a test of each property, run as often as `runs` demands.
macro_rules! suite {
    ($runs:expr, $world:expr) => {
        $crate::reactor::conformance::suite! { $runs, $world =>
            accepting_goes_on_until_it_is_stopped
            stopping_leaves_what_waits_to_accept_now
            several_listeners_are_served
            accepting_one_leaves_the_next_to_be_asked_for
            an_accepted_connection_names_its_listener
            a_new_socket_knows_its_peer
            bytes_that_arrive_are_readable
            every_arrival_is_an_edge
            bytes_that_were_there_before_the_watch_are_readable
            the_end_of_the_stream_comes_after_the_bytes
            an_end_that_came_with_the_bytes_is_found_by_reading_on
            a_reset_is_readable
            a_shut_down_socket_is_readable
            unwatch_ends_a_watch_once_and_for_all
            a_watch_can_be_asked_for_anew
            tokens_come_back_as_they_were_given
            an_empty_send_completes
            many_parts_leave_in_order
            a_large_send_to_a_slow_reader_leaves_in_order
            a_blocked_send_needs_no_watch
            a_blocked_send_outlives_its_watch
            a_blocked_send_survives_a_new_watch
            shutdown_fails_a_blocked_send
            shutdown_fails_a_blocked_send_whose_watch_has_ended
            a_reset_fails_a_blocked_send
            a_full_socket_would_block_a_send_now
            bytes_that_a_peer_reads_are_acknowledged_and_others_are_not
            the_peer_reads_everything_before_the_end_of_the_stream
            discard_on_close_resets
            closing_with_unread_bytes_resets
            the_waker_wakes_from_any_thread
            one_turned_away_receives_the_answer
        }
    };
    ($runs:expr, $world:expr => $($property:ident)+) => {
        $(
            #[test]
            fn $property() {
                for run in $runs {
                    $crate::reactor::conformance::$property(&mut $world(run));
                }
            }
        )+
    };
}
pub(crate) use suite;

/// The properties that hold for Unix sockets as well: all but addresses and requested resets.
macro_rules! unix_suite {
    ($new:expr) => {
        $crate::reactor::conformance::suite! { 0..1,
            |_| $crate::reactor::conformance::Loopback::on_unix_sockets($new) =>
            accepting_goes_on_until_it_is_stopped
            stopping_leaves_what_waits_to_accept_now
            several_listeners_are_served
            accepting_one_leaves_the_next_to_be_asked_for
            an_accepted_connection_names_its_listener
            bytes_that_arrive_are_readable
            every_arrival_is_an_edge
            bytes_that_were_there_before_the_watch_are_readable
            the_end_of_the_stream_comes_after_the_bytes
            an_end_that_came_with_the_bytes_is_found_by_reading_on
            a_shut_down_socket_is_readable
            unwatch_ends_a_watch_once_and_for_all
            a_watch_can_be_asked_for_anew
            tokens_come_back_as_they_were_given
            an_empty_send_completes
            many_parts_leave_in_order
            a_large_send_to_a_slow_reader_leaves_in_order
            a_blocked_send_needs_no_watch
            a_blocked_send_outlives_its_watch
            a_blocked_send_survives_a_new_watch
            shutdown_fails_a_blocked_send
            shutdown_fails_a_blocked_send_whose_watch_has_ended
            a_reset_fails_a_blocked_send
            a_full_socket_would_block_a_send_now
            the_peer_reads_everything_before_the_end_of_the_stream
            closing_with_unread_bytes_resets
            one_turned_away_receives_the_answer
            a_peer_of_a_unix_socket_has_no_address
            clients_queued_at_a_closed_unix_socket_are_accepted_and_no_others
        }
    };
}
pub(crate) use unix_suite;

/// The suite on the real kernel, and the properties that need one. `new` creates the reactor: `fn() -> io::Result<R>`.
macro_rules! kernel_suite {
    ($new:expr) => {
        $crate::reactor::conformance::suite!(0..1, |_| {
            $crate::reactor::conformance::Loopback::new($new)
        });

        $crate::reactor::conformance::kernel_suite! { $new =>
            bytes_sent_before_a_connection_is_established_arrive
            a_connection_that_is_refused_fails_what_it_was_to_send
            completions_of_a_send_come_from_the_same_enter
            one_enter_tells_of_all_that_are_readable
            enter_waits_as_long_as_it_was_told
            enter_ends_with_the_first_completion
            accepted_sockets_are_non_blocking_and_close_on_exec
            the_park_descriptor_is_readable_once_something_waits
        }

        $crate::reactor::conformance::kernel_suite! { alone: $new =>
            without_descriptors_accepting_ends_and_recovers
            a_spare_descriptor_that_was_lost_is_had_again_before_anyone_is_let_in
            a_dropped_reactor_leaves_no_descriptor_open
        }
    };
    ($new:expr => $($property:ident)+) => {
        $(
            #[test]
            fn $property() {
                let new = $new;
                $crate::reactor::conformance::$property(&mut $crate::reactor::conformance::Loopback::new(new));
            }
        )+
    };
    (alone: $new:expr => $($property:ident)+) => {
        $(
            #[test]
            fn $property() {
                let name = concat!(module_path!(), "::", stringify!($property));
                $crate::reactor::conformance::alone(name, || $crate::reactor::conformance::$property($new));
            }
        )+
    };
}
pub(crate) use kernel_suite;
