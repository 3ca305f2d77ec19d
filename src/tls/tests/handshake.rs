//! Handshakes and open sessions with rustls' client.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, HandshakeKind};

use super::client::{Pair, client_config, client_config_with, settings};
use crate::tls::provider::provider;
use crate::tls::{Acceptor, RecordLayer, Settings, Tickets, Versions};

fn acceptor(records: RecordLayer) -> (Acceptor, String) {
    let (settings, trusted) = settings(records);
    (Acceptor::new(&settings).unwrap(), trusted)
}

/// Exchanges messages of many sizes both ways, in order, and closes in order.
fn converse(pair: &mut Pair, piece: usize) {
    // The end of the handshake, or a ticket.
    assert_eq!(pair.client_reads().unwrap(), b"");
    for bytes in [1, 100, 16_383, 16_384, 16_385, 100_000] {
        let said: Vec<u8> = (0..bytes).map(|n| n as u8).collect();
        std::io::Write::write_all(&mut pair.client.writer(), &said).unwrap();
        let mut heard = Vec::new();
        loop {
            let sent = pair.client_writes();
            if sent.is_empty() {
                break;
            }
            for piece in sent.chunks(piece) {
                heard.extend(pair.server_reads(piece).unwrap().0);
            }
            std::io::Write::flush(&mut pair.client.writer()).unwrap();
        }
        assert!(heard == said, "{bytes} bytes from the client");
        let (one, other) = said.split_at(bytes / 3);
        pair.server_writes(&[one, &[], other]);
        assert!(pair.client_reads().unwrap() == said, "{bytes} bytes from the server");
    }
    pair.client.send_close_notify();
    let sent = pair.client_writes();
    assert_eq!(pair.server_reads(&sent), Ok((vec![], true)));
    pair.server.close(&mut pair.from_server).unwrap();
    assert_eq!(pair.client_reads().unwrap(), b"");
    assert!(!pair.client.wants_read(), "the client has seen the end");
}

#[test]
fn sessions_carry_bytes_both_ways_in_every_version_and_layer() {
    for records in [RecordLayer::Own, RecordLayer::Rustls] {
        let (acceptor, trusted) = acceptor(records);
        for version in [&TLS13, &TLS12] {
            for piece in [1, 7, 1000, 100_000] {
                let mut pair = Pair::new(&acceptor, client_config(&trusted, &[version]));
                pair.shake_hands(piece).unwrap();
                converse(&mut pair, piece.max(7));
            }
        }
    }
}

#[test]
fn every_suite_of_tls_1_3_is_served() {
    let (acceptor, trusted) = acceptor(RecordLayer::Own);
    for suite in [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ] {
        let mut cryptography = (*provider()).clone();
        cryptography.cipher_suites.retain(|offered| offered.suite() == suite);
        let mut pair = Pair::new(&acceptor, client_config_with(&trusted, &[&TLS13], Arc::new(cryptography)));
        pair.shake_hands(100_000).unwrap();
        assert_eq!(pair.client.negotiated_cipher_suite().unwrap().suite(), suite);
        converse(&mut pair, 1000);
    }
}

#[test]
fn bytes_behind_the_handshake_belong_to_the_session() {
    for records in [RecordLayer::Own, RecordLayer::Rustls] {
        let (acceptor, trusted) = acceptor(records);
        let mut pair = Pair::new(&acceptor, client_config(&trusted, &[&TLS13]));
        let hello = pair.client_writes();
        pair.server.feed(&hello);
        pair.server.step(&mut pair.from_server).unwrap();
        pair.client_reads().unwrap();
        std::io::Write::write_all(&mut pair.client.writer(), b"early bird").unwrap();
        let finished_and_data = pair.client_writes();
        pair.server.feed(&finished_and_data);
        pair.server.step(&mut pair.from_server).unwrap();
        assert!(!pair.server.is_handshaking() && !pair.server.kept().is_empty());
        assert_eq!(pair.server_reads(b"").unwrap().0, b"early bird");
    }
}

#[test]
fn bytes_that_cannot_be_opened_are_tried_once() {
    for (records, version) in [(RecordLayer::Own, &TLS13), (RecordLayer::Rustls, &TLS13), (RecordLayer::Own, &TLS12)] {
        let (acceptor, trusted) = acceptor(records);
        let mut pair = Pair::new(&acceptor, client_config(&trusted, &[version]));
        let hello = pair.client_writes();
        pair.server.feed(&hello);
        pair.server.step(&mut pair.from_server).unwrap();
        pair.client_reads().unwrap();
        // The head of a record that is too long for TLS 1.3, behind the client's Finished.
        let finished = [pair.client_writes(), vec![23, 3, 3, 66, 0]].concat();
        pair.server.feed(&finished);
        pair.server.step(&mut pair.from_server).unwrap();
        assert!(pair.server.has_unopened());
        let _ = pair.server_reads(b"");
        assert!(!pair.server.has_unopened());
        pair.server.close(&mut pair.from_server).ok();
        let _ = pair.server_reads(b"");
        assert!(!pair.server.has_unopened());
    }
}

#[test]
fn a_client_resumes_with_its_ticket_even_after_the_settings_were_replaced() {
    let (settings, trusted) = settings(RecordLayer::Own);
    let acceptor = Acceptor::new(&settings).unwrap();
    for version in [&TLS13, &TLS12] {
        let mut config = client_config(&trusted, &[version]);
        config.resumption = rustls::client::Resumption::in_memory_sessions(8);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let mut pair = Pair::new(&acceptor, config.clone());
            pair.shake_hands(100_000).unwrap();
            converse(&mut pair, 1000);
            assert_eq!(pair.client.handshake_kind(), Some(kind));
            acceptor.replace(&settings).unwrap();
        }
    }
}

#[test]
fn without_tickets_no_session_is_resumed() {
    let (settings, trusted) = settings(RecordLayer::Own);
    let acceptor = Acceptor::new(&Settings { tickets: Tickets::Off, ..settings }).unwrap();
    let mut config = client_config(&trusted, &[&TLS13]);
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    for _ in 0..2 {
        let mut pair = Pair::new(&acceptor, config.clone());
        pair.shake_hands(100_000).unwrap();
        converse(&mut pair, 1000);
        assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[test]
fn a_version_that_is_not_spoken_and_another_protocol_get_an_alert() {
    let (settings, trusted) = settings(RecordLayer::Own);
    let acceptor = Acceptor::new(&Settings { versions: Versions::Only13, ..settings }).unwrap();
    let mut pair = Pair::new(&acceptor, client_config(&trusted, &[&TLS12]));
    pair.shake_hands(100_000).unwrap_err();
    assert_eq!(pair.from_server[5..], [2, 70], "protocol_version");
    let mut config = client_config(&trusted, &[&TLS13]);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut pair = Pair::new(&acceptor, config);
    pair.shake_hands(100_000).unwrap_err();
    assert!(pair.client_reads().unwrap_err().to_string().contains("NoApplicationProtocol"));
}

#[test]
fn a_message_that_never_ends_is_a_fault_before_it_takes_much_memory() {
    let (acceptor, _) = acceptor(RecordLayer::Own);
    let mut server = acceptor.accept().unwrap();
    let mut fed = 0;
    // A ClientHello of 65,535 bytes, a byte in each record.
    let message = [1, 0, 255, 255].into_iter().chain(std::iter::repeat(3));
    for byte in message {
        server.feed(&[22, 3, 1, 0, 1, byte]);
        fed += 6;
        if server.step(&mut Vec::new()).is_err() {
            break;
        }
    }
    assert!((64 * 1024..128 * 1024).contains(&fed), "{fed}");
}

#[test]
fn rubbish_instead_of_a_hello_is_a_fault() {
    let (acceptor, _) = acceptor(RecordLayer::Own);
    for rubbish in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"SSH-2.0-x\r\n", &[22, 3, 1, 0xff, 0xff], &[0; 64], &[22; 64]] {
        let mut server = acceptor.accept().unwrap();
        let mut answer = Vec::new();
        server.feed(rubbish);
        assert!(server.step(&mut answer).is_err(), "{rubbish:?}");
        assert_eq!(answer[..2], [21, 3], "a plain alert: {answer:?}");
    }
}
