// Requests, and the status each deserves from a server that upgrades every path. To be taken in with `include!`.
//
// A row is one request as it comes over the wire. Its status must not depend on how the bytes are split, except for
// `early_data`, where what follows the head must arrive before the head is answered.

/// One request and its verdict.
#[derive(Clone, Debug)]
pub struct Row {
    /// Says what is special about the request; unique.
    pub name: String,
    /// Everything the client sends.
    pub bytes: Vec<u8>,
    /// The status of the answer.
    pub status: u16,
}

/// Requests that must be refused.
pub fn refused() -> Vec<Row> {
    let mut rows = Vec::new();
    for &(line, status) in REQUEST_LINES {
        push(&mut rows, "request line", line, head(line, GOOD), status);
    }
    for &(line, status) in ADDED_LINES {
        let lines: Vec<&[u8]> = GOOD.iter().copied().chain([line]).collect();
        push(&mut rows, "added", line, head(b"GET /chat HTTP/1.1", &lines), status);
    }
    for &(name, value, status) in REPLACED_VALUES {
        let line = [name.as_bytes(), b": ", value].concat();
        let mut lines: Vec<&[u8]> =
            GOOD.iter().copied().filter(|good| !good.starts_with(name.as_bytes())).collect();
        lines.push(&line);
        push(&mut rows, "replaced", &line, head(b"GET /chat HTTP/1.1", &lines), status);
    }
    for &(name, status) in LEFT_OUT {
        let lines: Vec<&[u8]> =
            GOOD.iter().copied().filter(|good| !good.starts_with(name.as_bytes())).collect();
        push(&mut rows, "left out", name.as_bytes(), head(b"GET /chat HTTP/1.1", &lines), status);
    }
    for &(bytes, status) in WHOLE {
        push(&mut rows, "whole", bytes, bytes.to_vec(), status);
    }
    rows.extend(too_large());
    rows
}

/// Good upgrade requests: 101.
pub fn accepted() -> Vec<Row> {
    let mut rows = Vec::new();
    for &(client, text) in CLIENTS {
        push(&mut rows, "client", client.as_bytes(), text.replace('\n', "\r\n").into_bytes(), 101);
    }
    for &line in HARMLESS_LINES {
        let lines: Vec<&[u8]> = GOOD.iter().copied().chain([line]).collect();
        push(&mut rows, "added", line, head(b"GET /chat HTTP/1.1", &lines), 101);
    }
    for &line in HARMLESS_REQUEST_LINES {
        push(&mut rows, "request line", line, head(line, GOOD), 101);
    }
    let mut late = b"\r\n".to_vec();
    late.extend(head(b"GET /chat HTTP/1.1", GOOD));
    push(&mut rows, "whole", b"one empty line first", late, 101);
    rows.extend(just_small_enough());
    rows
}

/// Good upgrade requests with bytes after the head: refused with 400 if they arrive before the answer.
pub fn early_data() -> Vec<Row> {
    let mut rows = Vec::new();
    let after: &[&[u8]] = &[
        b"\x81\x85\x01\x02\x03\x04ignored",
        b"\x89\x80\x00\x00\x00\x00",
        b"\0",
        b"\r\n",
        b"8 bytes!",
        b"0\r\n\r\n",
        b"GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    for &bytes in after {
        let mut all = head(b"GET /chat HTTP/1.1", GOOD);
        all.extend(bytes);
        push(&mut rows, "early", bytes, all, 400);
    }
    rows
}

/// Requests that are good so far and never end: 408 when the time is up.
pub fn unfinished() -> Vec<Row> {
    let mut rows = Vec::new();
    let good = head(b"GET /chat HTTP/1.1", GOOD);
    for kept in [0, 1, 3, 18, 19, 20, 40, good.len() - 3, good.len() - 2, good.len() - 1] {
        let name = format!("{kept} bytes");
        push(&mut rows, "unfinished", name.as_bytes(), good[..kept].to_vec(), 408);
    }
    push(&mut rows, "unfinished", b"a line without a version", b"GET /\r\n".to_vec(), 408);
    push(&mut rows, "unfinished", b"one empty line", b"\r\n".to_vec(), 408);
    push(&mut rows, "unfinished", b"half an empty line", b"\r".to_vec(), 408);
    rows
}

/// The headers of the good request that the rows are made of.
const GOOD: &[&[u8]] = &[
    b"Host: localhost:9001",
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
];

const REQUEST_LINES: &[(&[u8], u16)] = &[
    // The method.
    (b"POST /chat HTTP/1.1", 405),
    (b"HEAD /chat HTTP/1.1", 405),
    (b"PUT /chat HTTP/1.1", 405),
    (b"OPTIONS /chat HTTP/1.1", 405),
    (b"DELETE /chat HTTP/1.1", 405),
    (b"TRACE /chat HTTP/1.1", 405),
    (b"CONNECT /chat HTTP/1.1", 405),
    (b"GETT /chat HTTP/1.1", 405),
    (b"GEt /chat HTTP/1.1", 405),
    (b"G /chat HTTP/1.1", 405),
    (b"BASELINE-CONTROL /chat HTTP/1.1", 405),
    (b"get /chat HTTP/1.1", 400),
    (b"Get /chat HTTP/1.1", 405),
    (b" GET /chat HTTP/1.1", 400),
    (b"\tGET /chat HTTP/1.1", 400),
    (b"\0GET /chat HTTP/1.1", 400),
    (b"G\0ET /chat HTTP/1.1", 400),
    (b"GET\0 /chat HTTP/1.1", 400),
    (b"G(T /chat HTTP/1.1", 400),
    (b"GE\xC3\x89T /chat HTTP/1.1", 400),
    (b"\xEF\xBB\xBFGET /chat HTTP/1.1", 400),
    (b"\"GET\" /chat HTTP/1.1", 400),
    (b"1ET /chat HTTP/1.1", 400),
    (b"GE\rT /chat HTTP/1.1", 400),
    (b"GET: /chat HTTP/1.1", 400),
    // The parts and the spaces between them.
    (b"GET", 400),
    (b"GET ", 400),
    (b"GET /chat", 400),
    (b"GET /chat ", 400),
    (b"GET  /chat HTTP/1.1", 400),
    (b"GET /chat  HTTP/1.1", 400),
    (b"GET /chat HTTP/1.1 ", 400),
    (b"GET /chat HTTP/1.1 x", 400),
    (b"GET /a b HTTP/1.1", 400),
    (b"GET\t/chat HTTP/1.1", 400),
    (b"GET /chat\tHTTP/1.1", 400),
    (b"GET /chat\x0BHTTP/1.1", 400),
    (b"GET HTTP/1.1", 400),
    (b"GET/chat HTTP/1.1", 400),
    (b"GET /chat\rHTTP/1.1", 400),
    (b"GET /chat HTTP/1.1\r", 400),
    // The version.
    (b"GET /chat HTTP/0.9", 505),
    (b"GET /chat HTTP/1.0", 505),
    (b"GET /chat HTTP/1.2", 505),
    (b"GET /chat HTTP/1.9", 505),
    (b"GET /chat HTTP/2.0", 505),
    (b"GET /chat HTTP/3.0", 505),
    (b"GET /chat HTTP/9.9", 505),
    (b"GET /chat HTTP/2", 400),
    (b"GET /chat HTTP/1", 400),
    (b"GET /chat HTTP/1.", 400),
    (b"GET /chat HTTP/1.10", 400),
    (b"GET /chat HTTP/01.1", 400),
    (b"GET /chat HTTP/1,1", 400),
    (b"GET /chat HTTP 1.1", 400),
    (b"GET /chat HTTP/a.b", 400),
    (b"GET /chat HTTP/-1.1", 400),
    (b"GET /chat http/1.1", 400),
    (b"GET /chat Http/1.1", 400),
    (b"GET /chat HTTPS/1.1", 400),
    (b"GET /chat HTTP/1.1\0", 400),
    (b"GET /chat ICY/1.1", 400),
    (b"GET /chat /1.1", 400),
    (b"GET /chat RTSP/1.0", 400),
    // The target.
    (b"GET * HTTP/1.1", 400),
    (b"OPTIONS * HTTP/1.1", 405),
    (b"GET localhost:9001 HTTP/1.1", 400),
    (b"CONNECT localhost:9001 HTTP/1.1", 400),
    (b"GET chat HTTP/1.1", 400),
    (b"GET ?token=1 HTTP/1.1", 400),
    (b"GET \\chat HTTP/1.1", 400),
    (b"GET /chat# HTTP/1.1", 400),
    (b"GET /chat#part HTTP/1.1", 400),
    (b"GET #/chat HTTP/1.1", 400),
    (b"GET /chat?a#b HTTP/1.1", 400),
    (b"GET /\0 HTTP/1.1", 400),
    (b"GET /chat\0 HTTP/1.1", 400),
    (b"GET /ch\x01at HTTP/1.1", 400),
    (b"GET /ch\x7Fat HTTP/1.1", 400),
    (b"GET /ch\x80at HTTP/1.1", 400),
    (b"GET /caf\xC3\xA9 HTTP/1.1", 400),
    (b"GET /ch\x1B[31mat HTTP/1.1", 400),
    (b"GET /chat?a=\xFF HTTP/1.1", 400),
    (b"GET http:// HTTP/1.1", 400),
    (b"GET http:///chat HTTP/1.1", 400),
    (b"GET http://?x HTTP/1.1", 400),
    (b"GET http:/chat HTTP/1.1", 400),
    (b"GET http:chat HTTP/1.1", 400),
    (b"GET http://user@localhost:9001/chat HTTP/1.1", 400),
    (b"GET http://localhost:99999/chat HTTP/1.1", 400),
    (b"GET ws:// HTTP/1.1", 400),
    (b"GET ws:///chat HTTP/1.1", 400),
    (b"GET ws:/chat HTTP/1.1", 400),
    (b"GET wss://user:secret@localhost:9001/chat HTTP/1.1", 400),
    (b"GET wss://localhost:9001/chat#part HTTP/1.1", 400),
    (b"GET wsx://localhost:9001/chat HTTP/1.1", 400),
    (b"GET ftp://localhost:9001/chat HTTP/1.1", 400),
    (b"GET file:///etc/passwd HTTP/1.1", 400),
];

const ADDED_LINES: &[(&[u8], u16)] = &[
    // A body announced, the classic way to smuggle a second request.
    (b"Content-Length: 1", 400),
    (b"Content-Length: 5", 400),
    (b"Content-Length: 00005", 400),
    (b"content-length: 5", 400),
    (b"CONTENT-LENGTH: 5", 400),
    (b"Content-Length:5", 400),
    (b"Content-Length:\t5", 400),
    (b"Content-Length: 18446744073709551615", 400),
    (b"Content-Length: 18446744073709551616", 400),
    (b"Content-Length: 99999999999999999999999999", 400),
    (b"Content-Length: -1", 400),
    (b"Content-Length: +0", 400),
    (b"Content-Length: -0", 400),
    (b"Content-Length: 0x0", 400),
    (b"Content-Length: 0, 0", 400),
    (b"Content-Length: 0,5", 400),
    (b"Content-Length: 5, 5", 400),
    (b"Content-Length: 0 0", 400),
    (b"Content-Length: 0;", 400),
    (b"Content-Length: 0.0", 400),
    (b"Content-Length: 1e1", 400),
    (b"Content-Length: \xD9\xA5", 400),
    (b"Content-Length: abc", 400),
    (b"Content-Length:", 400),
    (b"Content-Length: ", 400),
    (b"Content-Length: 0\r\nContent-Length: 0", 400),
    (b"Content-Length: 0\r\nContent-Length: 5", 400),
    (b"Content-Length: 5\r\nContent-Length: 0", 400),
    (b"Content-Length: 5\r\ncontent-length: 6", 400),
    (b"Content-Length: 0\r\nTransfer-Encoding: chunked", 400),
    (b"Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
    (b"Transfer-Encoding: chunked", 400),
    (b"transfer-encoding: chunked", 400),
    (b"TRANSFER-ENCODING: CHUNKED", 400),
    (b"Transfer-Encoding:chunked", 400),
    (b"Transfer-Encoding:\tchunked", 400),
    (b"Transfer-Encoding: identity", 400),
    (b"Transfer-Encoding: gzip, chunked", 400),
    (b"Transfer-Encoding: chunked, identity", 400),
    (b"Transfer-Encoding: xchunked", 400),
    (b"Transfer-Encoding: \"chunked\"", 400),
    (b"Transfer-Encoding:", 400),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", 400),
    (b"Transfer-Encoding : chunked", 400),
    (b" Transfer-Encoding: chunked", 400),
    (b"X: y\r\n Transfer-Encoding: chunked", 400),
    (b"Transfer-Encoding:\r\n chunked", 400),
    (b"Transfer-Encoding\r\n: chunked", 400),
    (b"X: y\rTransfer-Encoding: chunked", 400),
    (b"X: y\nTransfer-Encoding: chunked", 400),
    (b"X: y\n\rTransfer-Encoding: chunked", 400),
    (b"X: y\r\r\nTransfer-Encoding: chunked", 400),
    (b"\x0BTransfer-Encoding: chunked", 400),
    (b"Transfer-Encoding\x0B: chunked", 400),
    (b"Transfer-Encoding: \x0Bchunked", 400),
    (b"Transfer-Encoding\0: chunked", 400),
    // Names.
    (b"NoColon", 400),
    (b":", 400),
    (b": no name", 400),
    (b" : no name", 400),
    (b"X : y", 400),
    (b"X\t: y", 400),
    (b"X Y: z", 400),
    (b"X\0: y", 400),
    (b"X\x7F: y", 400),
    (b"X\xE9: y", 400),
    (b"(X): y", 400),
    (b"X@Y: z", 400),
    (b"X,Y: z", 400),
    (b"X/Y: z", 400),
    (b"\"X\": y", 400),
    (b"{X}: y", 400),
    (b"[X]: y", 400),
    (b"X=Y: z", 400),
    (b"<X>: y", 400),
    (b"GET /admin HTTP/1.1", 400),
    // Folding.
    (b" folded", 400),
    (b"\tfolded", 400),
    (b" ", 400),
    (b"X: y\r\n folded", 400),
    (b"X: y\r\n\tfolded", 400),
    (b"X:\r\n y", 400),
    // Values.
    (b"X: a\0b", 400),
    (b"X: \0", 400),
    (b"X: a\x01b", 400),
    (b"X: a\x08b", 400),
    (b"X: a\x0Bb", 400),
    (b"X: a\x0Cb", 400),
    (b"X: a\rb", 400),
    (b"X: a\r", 400),
    (b"X: \r", 400),
    (b"X: a\x1Bb", 400),
    (b"X: a\x7Fb", 400),
    // Line ends.
    (b"X: a\nY: b", 400),
    (b"X: a\n", 400),
    (b"\nX: a", 400),
    (b"X: a\n\nGET / HTTP/1.1", 400),
    (b"\rX: a", 400),
    (b"\r", 400),
    // Expect.
    (b"Expect: something", 417),
    (b"Expect: 100-continue, something", 417),
    // What may be sent once, sent again.
    (b"Host: localhost:9001", 400),
    (b"host: localhost:9001", 400),
    (b"HOST: elsewhere.example", 400),
    (b"Host:", 400),
    (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", 400),
    (b"sec-websocket-key: x3JJHMbDL1EzLkh9GBhXDw==", 400),
    (b"Sec-WebSocket-Key:", 400),
    (b"Sec-WebSocket-Version: 13", 400),
    (b"Sec-WebSocket-Version: 8", 400),
    (b"sec-websocket-version: 13", 400),
    (b"Origin: http://localhost\r\nOrigin: http://localhost", 400),
    (b"Origin: http://localhost\r\norigin: http://elsewhere.example", 400),
    // Subprotocols.
    (b"Sec-WebSocket-Protocol:", 400),
    (b"Sec-WebSocket-Protocol: ,", 400),
    (b"Sec-WebSocket-Protocol: , ,", 400),
    (b"Sec-WebSocket-Protocol: chat, chat", 400),
    (b"Sec-WebSocket-Protocol: chat, superchat, chat", 400),
    (b"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat", 400),
    (b"Sec-WebSocket-Protocol: super chat", 400),
    (b"Sec-WebSocket-Protocol: chat;v=1", 400),
    (b"Sec-WebSocket-Protocol: chat/1", 400),
    (b"Sec-WebSocket-Protocol: \"chat\"", 400),
    (b"Sec-WebSocket-Protocol: chat=1", 400),
    (b"Sec-WebSocket-Protocol: ch\xC3\xA9t", 400),
    (b"Sec-WebSocket-Protocol: a, b c, d", 400),
    (b"Sec-WebSocket-Protocol: http://example.com/", 400),
    (b"Sec-WebSocket-Protocol: chat\tsuperchat", 400),
    // Extensions.
    (b"Sec-WebSocket-Extensions:", 400),
    (b"Sec-WebSocket-Extensions: ,", 400),
    (b"Sec-WebSocket-Extensions: ;", 400),
    (b"Sec-WebSocket-Extensions: a;", 400),
    (b"Sec-WebSocket-Extensions: a; ", 400),
    (b"Sec-WebSocket-Extensions: a;;b", 400),
    (b"Sec-WebSocket-Extensions: a; b=", 400),
    (b"Sec-WebSocket-Extensions: a; =b", 400),
    (b"Sec-WebSocket-Extensions: a; b=c=d", 400),
    (b"Sec-WebSocket-Extensions: a; b=c d", 400),
    (b"Sec-WebSocket-Extensions: a b", 400),
    (b"Sec-WebSocket-Extensions: a=b", 400),
    (b"Sec-WebSocket-Extensions: \"a\"", 400),
    (b"Sec-WebSocket-Extensions: a; \"b\"", 400),
    (b"Sec-WebSocket-Extensions: a; b=\"\"", 400),
    (b"Sec-WebSocket-Extensions: a; b=\"c", 400),
    (b"Sec-WebSocket-Extensions: a; b=c\"", 400),
    (b"Sec-WebSocket-Extensions: a; b=\"", 400),
    (b"Sec-WebSocket-Extensions: a; b=\"c d\"", 400),
    (b"Sec-WebSocket-Extensions: a; b=\"c,d\"", 400),
    (b"Sec-WebSocket-Extensions: a; b=\"c;d\"", 400),
    (b"Sec-WebSocket-Extensions: a; b=\"c\\\"d\"", 400),
    (b"Sec-WebSocket-Extensions: a; b=\"c\\\"", 400),
    (b"Sec-WebSocket-Extensions: a; b=\"c\"d", 400),
    (b"Sec-WebSocket-Extensions: a; b=\"\xC3\xA9\"", 400),
    (b"Sec-WebSocket-Extensions: a; b=\xFF", 400),
    (b"Sec-WebSocket-Extensions: a, b;, c", 400),
    (b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=", 400),
    (b"Sec-WebSocket-Extensions: permessage-deflate; client max window bits", 400),
    (b"Sec-WebSocket-Extensions: a\r\nSec-WebSocket-Extensions: b;", 400),
];

const REPLACED_VALUES: &[(&str, &[u8], u16)] = &[
    ("Host", b"", 400),
    ("Host", b" ", 400),
    ("Host", b"a b", 400),
    ("Host", b"a, b", 400),
    ("Host", b"a,b", 400),
    ("Host", b"a/b", 400),
    ("Host", b"a\\b", 400),
    ("Host", b"a?b", 400),
    ("Host", b"a#b", 400),
    ("Host", b"user@localhost", 400),
    ("Host", b"http://localhost", 400),
    ("Host", b"<script>", 400),
    ("Host", b"\"localhost\"", 400),
    ("Host", b"caf\xC3\xA9.example", 400),
    ("Host", b"a\0b", 400),
    ("Host", b":9001", 400),
    ("Host", b"localhost:x", 400),
    ("Host", b"localhost:-1", 400),
    ("Host", b"localhost:+80", 400),
    ("Host", b"localhost:65536", 400),
    ("Host", b"localhost:80:80", 400),
    ("Host", b"localhost: 80", 400),
    ("Host", b"::1", 400),
    ("Host", b"[::1", 400),
    ("Host", b"::1]", 400),
    ("Host", b"[]", 400),
    ("Host", b"[::g]", 400),
    ("Host", b"[::1]x", 400),
    ("Host", b"[::1]:x", 400),
    ("Host", b"[localhost]", 400),
    ("Host", b"[[::1]]", 400),
    ("Upgrade", b"", 400),
    ("Upgrade", b"h2c", 400),
    ("Upgrade", b"websockets", 400),
    ("Upgrade", b"web socket", 400),
    ("Upgrade", b"websocket/13", 400),
    ("Upgrade", b"\"websocket\"", 400),
    ("Upgrade", b"websocket;q=1", 400),
    ("Connection", b"", 400),
    ("Connection", b"close", 400),
    ("Connection", b"keep-alive", 400),
    ("Connection", b"Upgraded", 400),
    ("Connection", b"keep-alive Upgrade", 400),
    ("Connection", b"\"Upgrade\"", 400),
    ("Connection", b"websocket", 400),
    ("Sec-WebSocket-Key", b"", 400),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ", 400),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=", 400),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ===", 400),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZR==", 400),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZ+==", 400),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZVU=", 400),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZVVV", 400),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25j", 400),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZVVVVVVV", 400),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==, x", 400),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBs SBub25jZQ==", 400),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBs-SBub25jZQ==", 400),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBs_SBub25jZQ==", 400),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBs=SBub25jZQ==", 400),
    ("Sec-WebSocket-Key", b"========================", 400),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25j\xC3\xA9==", 400),
    ("Sec-WebSocket-Key", b"\"dGhlIHNhbXBsZSBub25jZQ==\"", 400),
    ("Sec-WebSocket-Version", b"", 426),
    ("Sec-WebSocket-Version", b"0", 426),
    ("Sec-WebSocket-Version", b"7", 426),
    ("Sec-WebSocket-Version", b"8", 426),
    ("Sec-WebSocket-Version", b"12", 426),
    ("Sec-WebSocket-Version", b"14", 426),
    ("Sec-WebSocket-Version", b"255", 426),
    ("Sec-WebSocket-Version", b"013", 426),
    ("Sec-WebSocket-Version", b"+13", 426),
    ("Sec-WebSocket-Version", b"13.0", 426),
    ("Sec-WebSocket-Version", b"0x0d", 426),
    ("Sec-WebSocket-Version", b"13, 8", 426),
    ("Sec-WebSocket-Version", b"8, 13", 426),
    ("Sec-WebSocket-Version", b"thirteen", 426),
];

const LEFT_OUT: &[(&str, u16)] = &[
    ("Host", 400),
    ("Upgrade", 400),
    ("Connection", 400),
    ("Sec-WebSocket-Key", 400),
    ("Sec-WebSocket-Version", 400),
    ("Sec-WebSocket", 400),
    // All of them, and thus the Host.
    ("", 400),
];

const WHOLE: &[(&[u8], u16)] = &[
    // Other protocols that knock at this port.
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03", 400),
    (b"\x16", 400),
    (b"\x80\x2E\x01\x03\x01", 400),
    (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (b"\x00\x00\x00\x00", 400),
    (b"*1\r\n$4\r\nPING\r\n", 400),
    (b"EHLO localhost\r\n\r\n", 400),
    (b"{\"type\":\"hello\"}\r\n\r\n", 400),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n\r\n", 400),
    (b"\r\n\r\n\0\r\nQUIT\n!\x11\x0A", 400),
    (b"\x81\x85\x01\x02\x03\x04abcde", 400),
    // What is no head.
    (b"\n", 400),
    (b"\n\n", 400),
    (b"\r\r\n", 400),
    (b"\r\n\r\n", 400),
    (b"\r\n\n", 400),
    (b"\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    (b" \r\n\r\n", 400),
    (b"GET /\r\n\r\n", 400),
    (b"GET / HTTP/1.1\n\n", 400),
    (b"GET / HTTP/1.1\n\r\n", 400),
    (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n\n", 400),
    (b"GET / HTTP/1.1\r\r\nHost: localhost\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\rHost: localhost\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\tHost: localhost\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.0\r\n\r\n", 505),
    // Requests for something else than a WebSocket.
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 426),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 400),
    (b"HEAD / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 400),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 405),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 405),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: something\r\n\r\n", 417),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\r\n", 426),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", 426),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 400),
    (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        400,
    ),
    // A draft from before RFC 6455.
    (
        b"GET /demo HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\
          Upgrade: WebSocket\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nOrigin: http://example.com\r\n\r\n^n:ds[4U",
        400,
    ),
];

const HARMLESS_REQUEST_LINES: &[&[u8]] = &[
    b"GET / HTTP/1.1",
    b"GET // HTTP/1.1",
    b"GET /? HTTP/1.1",
    b"GET /chat?token=a.b-c_d~e&f=%20%00?g HTTP/1.1",
    b"GET /a|b{c}\"d\"<e>^f`g HTTP/1.1",
    b"GET /../../etc/passwd HTTP/1.1",
    b"GET http://localhost:9001/chat HTTP/1.1",
    b"GET HTTP://LOCALHOST:9001/chat?x HTTP/1.1",
    b"GET http://localhost:9001 HTTP/1.1",
    b"GET http://localhost:9001?x HTTP/1.1",
    b"GET https://localhost:9001/chat HTTP/1.1",
    b"GET ws://localhost:9001/chat HTTP/1.1",
    b"GET wss://localhost:9001/chat?x HTTP/1.1",
    b"GET WSS://LocalHost:9001 HTTP/1.1",
    // RFC 9112 3.2.2: the target's host replaces that of the header.
    b"GET ws://localhost/chat HTTP/1.1",
    b"GET http://elsewhere.example/chat HTTP/1.1",
];

const HARMLESS_LINES: &[&[u8]] = &[
    b"Content-Length: 0",
    // RFC 9110 10.1.1: without a body there is nothing to wait for.
    b"Expect: 100-continue",
    b"expect: 100-Continue",
    b"Expect:",
    b"TE: trailers",
    b"X:",
    b"X: ",
    b"X:\t y \t",
    b"X: caf\xC3\xA9",
    b"X: caf\xE9",
    b"X: a\tb",
    b"X-Empty:\r\nX-Empty:",
    b"!#$%&'*+-.^_`|~09: y",
    b"Cookie: a=\"b c\"; d=e",
    b"Origin: null",
    b"Upgrade: h2c",
    b"Connection: keep-alive",
    b"Sec-WebSocket-Protocol: chat",
    b"Sec-WebSocket-Protocol: chat, superchat",
    b"Sec-WebSocket-Protocol: chat,, superchat ,",
    b"Sec-WebSocket-Protocol: chat\r\nsec-websocket-protocol: superchat",
    b"Sec-WebSocket-Protocol: chat, Chat",
    b"Sec-WebSocket-Protocol: v1.json+chat!",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    b"Sec-WebSocket-Extensions: a;b=c;d=\"e\" ; f = \"\\g\\1\", h",
    b"Sec-WebSocket-Extensions: a, , a; b",
    b"Sec-WebSocket-Extensions: a\r\nSec-WebSocket-Extensions: b; c",
];

const CLIENTS: &[(&str, &str)] = &[
    (
        "RFC 6455 section 1.3",
        "GET /chat HTTP/1.1\nHost: server.example.com\nUpgrade: websocket\nConnection: Upgrade\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nOrigin: http://example.com\n\
         Sec-WebSocket-Protocol: chat, superchat\nSec-WebSocket-Version: 13\n\n",
    ),
    (
        "Chrome",
        "GET /ws?room=1 HTTP/1.1\nHost: 127.0.0.1:9001\nConnection: Upgrade\nPragma: no-cache\n\
         Cache-Control: no-cache\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 \
         (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\n\
         Upgrade: websocket\nOrigin: http://127.0.0.1:8080\nSec-WebSocket-Version: 13\n\
         Accept-Encoding: gzip, deflate, br, zstd\nAccept-Language: en-GB,en;q=0.9\nCookie: session=abc; theme=dark\n\
         Sec-WebSocket-Key: 9Hn1Lz2wVbC3sJYtG0QwXA==\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\n\n",
    ),
    (
        "Firefox",
        "GET / HTTP/1.1\nHost: localhost:9001\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0\nAccept: */*\n\
         Accept-Language: en-GB,en;q=0.5\nAccept-Encoding: gzip, deflate, br, zstd\nSec-WebSocket-Version: 13\n\
         Origin: null\nSec-WebSocket-Extensions: permessage-deflate\nSec-WebSocket-Key: 2ZCkJTAyMDIzIGZveCEhIQ==\n\
         Connection: keep-alive, Upgrade\nSec-Fetch-Dest: empty\nSec-Fetch-Mode: websocket\n\
         Sec-Fetch-Site: cross-site\nPragma: no-cache\nCache-Control: no-cache\nUpgrade: websocket\n\n",
    ),
    (
        "Safari",
        "GET /echo HTTP/1.1\nHost: [::1]:9001\nSec-WebSocket-Version: 13\n\
         Sec-WebSocket-Key: q4xkcO32u266gldTuKaSOw==\nConnection: Upgrade\nUpgrade: websocket\n\
         User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) \
         Version/17.5 Safari/605.1.15\nOrigin: http://[::1]:8080\nPragma: no-cache\nCache-Control: no-cache\n\
         Sec-WebSocket-Extensions: permessage-deflate\nAccept-Language: en-GB,en;q=0.9\nSec-Fetch-Mode: websocket\n\
         Accept-Encoding: gzip, deflate\n\n",
    ),
    (
        "curl with a ws URL",
        "GET / HTTP/1.1\nHost: localhost:9001\nUser-Agent: curl/8.8.0\nAccept: */*\nUpgrade: websocket\n\
         Connection: Upgrade\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: NVtKYHuGcBP2OtTQGEk6/A==\n\n",
    ),
    (
        "Python websockets",
        "GET / HTTP/1.1\nHost: localhost:9001\nUpgrade: websocket\nConnection: Upgrade\n\
         Sec-WebSocket-Key: t3Wu9fK4S02wWvhhnD0CEQ==\nSec-WebSocket-Version: 13\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\n\
         User-Agent: Python/3.10 websockets/13.1\n\n",
    ),
    (
        "Python aiohttp",
        "GET / HTTP/1.1\nHost: localhost:9001\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\n\
         Sec-WebSocket-Key: 1wX9ZDz+x2c+7PoKBhr+eA==\nAccept: */*\nAccept-Encoding: gzip, deflate\n\
         User-Agent: Python/3.12 aiohttp/3.9.5\n\n",
    ),
    (
        "Node ws",
        "GET / HTTP/1.1\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: kN9aT3KQ5ZxqG1h7WJX0mw==\nConnection: Upgrade\n\
         Upgrade: websocket\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\n\
         Host: localhost:9001\n\n",
    ),
    (
        "uWebSockets load_test",
        "GET / HTTP/1.1\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\n\
         Host: server.example.com\nSec-WebSocket-Version: 13\n\n",
    ),
    (
        "Go gorilla",
        "GET /ws HTTP/1.1\nHost: localhost:9001\nUser-Agent: Go-http-client/1.1\nConnection: Upgrade\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\nSec-WebSocket-Version: 13\nUpgrade: websocket\n\n",
    ),
    (
        "tungstenite",
        "GET / HTTP/1.1\nHost: 127.0.0.1:9001\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
         Sec-WebSocket-Key: /////////////////////w==\n\n",
    ),
    (
        "Autobahn",
        "GET /runCase?case=1&agent=x HTTP/1.1\nUser-Agent: AutobahnTestSuite/0.8.2-0.10.9\nHost: 127.0.0.1:9001\n\
         Upgrade: WebSocket\nConnection: Upgrade\nPragma: no-cache\nCache-Control: no-cache\n\
         Sec-WebSocket-Key: PX4zuY4zDUKBFbBLbPlDFw==\nSec-WebSocket-Version: 13\n\n",
    ),
    (
        "a browser behind nginx",
        "GET /app HTTP/1.1\nUpgrade: websocket\nConnection: upgrade\nHost: chat.example\nX-Real-IP: 192.0.2.7\n\
         X-Forwarded-For: 198.51.100.1, 192.0.2.7\nX-Forwarded-Proto: https\nOrigin: https://chat.example\n\
         Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\
         Sec-WebSocket-Protocol: centrifuge-protobuf\n\n",
    ),
];

/// Above a limit by one byte or one header, or far above it. The limits are the defaults.
fn too_large() -> Vec<Row> {
    let mut rows = Vec::new();
    for bytes in [8 * 1024 + 1, 9000, 16 * 1024, 20 * 1024] {
        let name = format!("request line of {bytes} bytes");
        push(&mut rows, "limit", name.as_bytes(), head(&request_line(bytes), GOOD), 414);
    }
    push(&mut rows, "limit", b"endless method", vec![b'A'; 20 * 1024], 414);
    push(
        &mut rows,
        "limit",
        b"endless target",
        [b"GET /".to_vec(), vec![b'a'; 20 * 1024]].concat(),
        414,
    );
    let bare = [&request_line(8 * 1024)[..], b"aa\nX: y\r\n\r\n"].concat();
    push(&mut rows, "limit", b"bare line feed after the limit", bare, 414);
    for bytes in [16 * 1024 + 1, 17_000, 20 * 1024] {
        let name = format!("head of {bytes} bytes");
        push(&mut rows, "limit", name.as_bytes(), head_of(bytes), 431);
    }
    push(
        &mut rows,
        "limit",
        b"endless header",
        [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 20 * 1024]].concat(),
        431,
    );
    for count in [65, 66, 100, 1000] {
        let name = format!("{count} headers");
        push(&mut rows, "limit", name.as_bytes(), head_with(count), 431);
    }
    let protocols: Vec<String> = (0..65).map(|at| format!("p{at}")).collect();
    let line = format!("Sec-WebSocket-Protocol: {}", protocols.join(","));
    let lines: Vec<&[u8]> = GOOD.iter().copied().chain([line.as_bytes()]).collect();
    push(&mut rows, "limit", b"65 subprotocols", head(b"GET / HTTP/1.1", &lines), 400);
    rows
}

/// At a limit.
fn just_small_enough() -> Vec<Row> {
    let mut rows = Vec::new();
    push(
        &mut rows,
        "limit",
        b"request line of 8192 bytes",
        head(&request_line(8 * 1024), GOOD),
        101,
    );
    push(&mut rows, "limit", b"head of 16384 bytes", head_of(16 * 1024), 101);
    push(&mut rows, "limit", b"64 headers", head_with(64), 101);
    let protocols: Vec<String> = (0..64).map(|at| format!("p{at}")).collect();
    let line = format!("Sec-WebSocket-Protocol: {}", protocols.join(","));
    let lines: Vec<&[u8]> = GOOD.iter().copied().chain([line.as_bytes()]).collect();
    push(&mut rows, "limit", b"64 subprotocols", head(b"GET / HTTP/1.1", &lines), 101);
    rows
}

/// A request line that is `bytes` long with its CRLF, which is not included.
fn request_line(bytes: usize) -> Vec<u8> {
    let path = "a".repeat(bytes - "GET / HTTP/1.1\r\n".len());
    format!("GET /{path} HTTP/1.1").into_bytes()
}

/// A good head that is `bytes` long.
fn head_of(bytes: usize) -> Vec<u8> {
    let rest = bytes - head(b"GET / HTTP/1.1", GOOD).len();
    let line = format!("X: {}", "a".repeat(rest - "X: \r\n".len()));
    let lines: Vec<&[u8]> = GOOD.iter().copied().chain([line.as_bytes()]).collect();
    head(b"GET / HTTP/1.1", &lines)
}

/// A good head with `count` headers.
fn head_with(count: usize) -> Vec<u8> {
    let lines: Vec<&[u8]> =
        GOOD.iter().copied().chain(std::iter::repeat(&b"X: y"[..])).take(count).collect();
    head(b"GET / HTTP/1.1", &lines)
}

fn head(request_line: &[u8], lines: &[&[u8]]) -> Vec<u8> {
    let mut bytes = [request_line, b"\r\n"].concat();
    for line in lines {
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

fn push(rows: &mut Vec<Row>, kind: &str, what: &[u8], bytes: Vec<u8>, status: u16) {
    rows.push(Row { name: format!("{kind}: {}", what.escape_ascii()), bytes, status });
}
