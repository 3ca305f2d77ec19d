//! Frames written by hand, so that the tests do not depend on the encoder under test.

pub const FIN: u8 = 0x80;
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The key of frames whose key does not matter: no two bytes alike, so that a wrong rotation shows.
pub const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Returns a header with the shortest form of `length`.
pub fn header(first: u8, key: Option<[u8; 4]>, length: u64) -> Vec<u8> {
    let mask_bit = if key.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(mask_bit | length as u8),
        126..=0xFFFF => {
            bytes.push(mask_bit | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(mask_bit | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(key.into_iter().flatten());
    bytes
}

/// Returns a client's frame.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    masked_with(KEY, first, payload)
}

/// Returns a client's frame with a key of its own.
pub fn masked_with(key: [u8; 4], first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, Some(key), payload.len() as u64);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// Returns a server's frame.
pub fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, None, payload.len() as u64);
    bytes.extend(payload);
    bytes
}

/// Returns the payload of a Close frame.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}
