//! Tests specific to epoll: the packing of events, registrations, limits per `enter`.

use bytes::Bytes;

use std::net::Shutdown;

use super::*;
use crate::reactor::Sockets;
use crate::reactor::conformance::{Client, Loopback, Stream, World, kernel_suite, unix_suite};

kernel_suite!(Epoll::new);

mod on_unix_sockets {
    use super::*;

    unix_suite!(Epoll::new);
}

/// Creates Unix sockets, on which the effect of a call at one end is visible at the other when the call returns; over
/// TCP the kernel may leave it to a thread of its own.
fn world() -> Loopback<Epoll> {
    Loopback::on_unix_sockets(Epoll::new)
}

/// Returns an accepted socket, and its client, which reads only when asked to.
fn connection(world: &mut Loopback<Epoll>) -> (Socket, Stream) {
    let listener = world.listen();
    let client = world.connect();
    let socket = world.reactor().accept_now(listener).expect("it waits");
    world.narrow(&client, socket);
    (socket, client)
}

fn too_much(world: &Loopback<Epoll>) -> Chunks {
    Chunks::One(Bytes::from(vec![1; world.too_much()]))
}

fn enter(world: &mut Loopback<Epoll>) -> Vec<Completion> {
    let mut completions = Vec::new();
    world.reactor().enter(Duration::from_millis(1), &mut completions).expect("enter");
    completions
}

const TOKEN: Token = Token { index: 1, generation: 2 };

#[test]
fn a_source_survives_its_way_through_the_kernel() {
    let mut sources = vec![Source::Wake];
    for index in [0, 1, 0x00ff_fffe, 0x00ff_ffff] {
        for generation in [0, 1, u32::MAX - 1, u32::MAX] {
            sources.push(Source::Session(Token { index, generation }));
        }
    }
    sources.extend([0, 3, RawFd::MAX].map(|fd| Source::Listener(Socket::from_raw(fd))));
    sources.extend([0, 3, RawFd::MAX].map(|fd| Source::SharedListener(Socket::from_raw(fd))));
    for source in &sources {
        assert_eq!(Source::unpack(source.pack()), *source);
    }
    let mut packed: Vec<u64> = sources.iter().map(|source| source.pack()).collect();
    packed.sort_unstable();
    packed.dedup();
    assert_eq!(packed.len(), sources.len());
}

#[test]
fn a_blocked_send_reports_its_progress() {
    let mut world = world();
    let (socket, mut client) = connection(&mut world);
    let whole = too_much(&world);
    world.reactor().send(socket, TOKEN, whole.clone());
    let first = enter(&mut world);
    let [Completion::Sent { token: TOKEN, result: Ok(count), more: true }] = first[..] else { panic!("{first:?}") };
    let mut left = whole.len() - count;
    let mut steps = 0;
    while left > 0 {
        client.read();
        for completion in enter(&mut world) {
            let Completion::Sent { token: TOKEN, result: Ok(count), more } = completion else {
                panic!("{completion:?}")
            };
            assert!(count > 0);
            left -= count;
            steps += 1;
            assert_eq!(more, left > 0);
        }
    }
    assert!(steps > 1);
    world.reactor().close(socket);
}

#[test]
fn nothing_is_kept_for_a_session_whose_send_has_ended() {
    let mut world = world();
    let (socket, _client) = connection(&mut world);
    world.reactor().watch(socket, TOKEN);
    let whole = too_much(&world);
    world.reactor().send(socket, TOKEN, whole);
    assert_eq!(world.reactor().blocked.len(), 1);
    world.reactor().shutdown(socket, Shutdown::Both);
    enter(&mut world);
    assert!(world.reactor().blocked.is_empty());
    assert!(world.reactor().forget(socket.raw()).is_ok(), "the watch is still there");
    world.reactor().close(socket);
}

#[test]
fn a_socket_is_registered_no_longer_than_needed() {
    let mut world = world();
    let (socket, _client) = connection(&mut world);
    world.reactor().watch(socket, TOKEN);
    let whole = too_much(&world);
    world.reactor().send(socket, TOKEN, whole);
    world.reactor().unwatch(socket, TOKEN);
    world.reactor().unwatch(socket, TOKEN);
    let ended = |completion: &Completion| matches!(completion, Completion::WatchEnded { token: TOKEN, .. });
    assert_eq!(enter(&mut world).into_iter().filter(ended).count(), 1);
    world.reactor().shutdown(socket, Shutdown::Both);
    enter(&mut world);
    let unknown = world.reactor().forget(socket.raw()).expect_err("nothing is in flight");
    assert_eq!(unknown.raw_os_error(), Some(libc::ENOENT));
    world.reactor().close(socket);
}

#[test]
fn a_watch_that_the_kernel_refuses_ends_with_its_reason() {
    let mut world = world();
    let (socket, _client) = connection(&mut world);
    world.reactor().watch(socket, TOKEN);
    enter(&mut world);
    // EEXIST stands for ENOSPC here: reaching ENOSPC would take as many watches as the host allows.
    world.reactor().watch(socket, TOKEN);
    let completions = enter(&mut world);
    let refused =
        |completion: &Completion| matches!(completion, Completion::WatchEnded { token: TOKEN, result: Err(_) });
    assert_eq!(completions.iter().filter(|completion| refused(completion)).count(), 1);
    world.reactor().close(socket);
}

#[test]
fn a_burst_of_connections_is_accepted_in_portions() {
    let mut world = world();
    let listener = world.listen();
    let clients: Vec<_> = (0..ACCEPTS_PER_ENTER + 1).map(|_| world.connect()).collect();
    world.reactor().accept(listener);
    let mut portions = Vec::new();
    while portions.iter().sum::<usize>() < clients.len() {
        let completions = enter(&mut world);
        portions.push(completions.len());
        for completion in completions {
            let Completion::Accepted { result: Ok(socket), more: true, .. } = completion else {
                panic!("{completion:?}")
            };
            world.reactor().close(socket);
        }
    }
    assert_eq!(portions, [ACCEPTS_PER_ENTER, 1]);
}

#[test]
fn without_pwait2_a_wait_is_rounded_up() {
    let mut world = world();
    world.reactor().has_pwait2 = false;
    let begun = std::time::Instant::now();
    world.reactor().enter(Duration::from_micros(1500), &mut Vec::new()).expect("enter");
    assert!(begun.elapsed() >= Duration::from_micros(1500));
    world.reactor().waker().wake();
    let mut completions = Vec::new();
    world.reactor().enter(Duration::MAX, &mut completions).expect("enter");
    assert!(matches!(completions[..], [Completion::Woken]));
}

#[test]
fn only_errors_of_one_connection_leave_accepting_on() {
    for number in [libc::ECONNABORTED, libc::EPROTO, libc::EINTR] {
        assert!(concerns_one_connection(&io::Error::from_raw_os_error(number)));
    }
    for number in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EINVAL] {
        assert!(!concerns_one_connection(&io::Error::from_raw_os_error(number)));
    }
}
