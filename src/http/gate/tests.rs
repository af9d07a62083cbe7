mod against_hyper;
mod properties;

use super::{Gate, Refusal, opens};

type Table = [(Refusal, &'static [&'static str])];

/// Requests that are refused in their head. `$` stands in front of the byte that is at fault.
const BAD_HEADS: &Table = &[
    (
        Refusal::BareLf,
        &[
            "GET / HTTP/1.1$\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a$\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n$\n",
            "$\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a$\nX: b\r\n\r\n",
            "POST / HTTP/1.1\r\nX: a$\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ],
    ),
    (
        Refusal::BareCr,
        &[
            "GET / HTTP/1.1\r$\rHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r$X: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r$G",
            "\r$GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nX: a\r$Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ],
    ),
    (
        Refusal::Control,
        &[
            "GET /$\0 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a$\0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding$\x0b: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length:$\x0b5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nTransfer-Encoding:$\x0bchunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked$\x0c\r\n\r\n0\r\n\r\n",
        ],
    ),
    (
        Refusal::ObsFold,
        &[
            "GET / HTTP/1.1\r\nX: a\r\n b\r$\n\r\n",
            "GET / HTTP/1.1\r\nX: a\r\n\tb\r$\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r$\n\r\n",
            " GET / HTTP/1.1\r$\nHost: a\r\n\r\n",
        ],
    ),
    (
        Refusal::TransferEncoding,
        &[
            "GET / HTTP/1.1\r\nTransfer-Encoding:\r$\n chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r$\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunkedx\r$\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: \"chunked\"\r$\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r$\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r$\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked,\r$\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: , chunked\r$\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked;a=b\r$\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r$\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding:\r$\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r$\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: cow\r$\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r$\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ],
    ),
    (
        Refusal::SpaceBeforeColon,
        &[
            "POST / HTTP/1.1\r\nContent-Length : 5\r$\n\r\nhello",
            "POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r$\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding\t: chunked\r$\n\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r$\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r$\n\r\n",
        ],
    ),
    (
        Refusal::FieldName,
        &[
            "GET / HTTP/1.1\r\n: a\r$\n\r\n",
            "GET / HTTP/1.1\r\nnocolon\r$\n\r\n",
        ],
    ),
    (
        Refusal::ContentLengthTwice,
        &[
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r$\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\ncontent-length: 6\r$\n\r\nhello",
        ],
    ),
    (
        Refusal::ContentLengthWithTransferEncoding,
        &[
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r$\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r$\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\ntransfer-encoding: CHUNKED\r$\n\r\n0\r\n\r\n",
        ],
    ),
    (
        Refusal::ContentLengthInvalid,
        &[
            "POST / HTTP/1.1\r\nContent-Length: 5, 5\r$\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length: 5 5\r$\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length: +5\r$\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length: -5\r$\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length: 0x5\r$\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length: 5.0\r$\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length: \"5\"\r$\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length:\r$\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length: 9223372036854775808\r$\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 18446744073709551621\r$\n\r\n",
        ],
    ),
    (
        Refusal::TransferEncodingInHttp10,
        &["POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r$\n\r\n0\r\n\r\n"],
    ),
    (
        Refusal::FramingLookalike,
        &[
            "POST / HTTP/1.1\r\nTransfer_Encoding: chunked\r$\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent_Length: 5\r$\n\r\nhello",
        ],
    ),
];

/// Chunked bodies that are refused, behind [`CHUNKED`]. `$` as above.
const BAD_BODIES: &Table = &[
    (
        Refusal::BareLf,
        &[
            "5$\nhello\r\n0\r\n\r\n",
            "5;a$\nhello\r\n0\r\n\r\n",
            // Spoiled in another way than by LF this would be a last chunk with an extension.
            "0;a$\n\r\n\r\n",
            "0\r\n$\n",
            "0\r\nX: a$\n\r\n",
            "0\r\nX: a\r\n$\n",
        ],
    ),
    (
        Refusal::BareCr,
        &[
            "5;a\r$hello\r\n0\r\n\r\n",
            "5\r$\rhello\r\n0\r\n\r\n",
            "0\r\nX: a\r$b\r\n\r\n",
            "0\r\n\r$G",
        ],
    ),
    (
        Refusal::ChunkEnd,
        &[
            "5\r\nhello$\n0\r\n\r\n",
            "5\r\nhello\r$\r0\r\n\r\n",
            "5\r\nhello$world\r\n0\r\n\r\n",
            "5\r\nhello$0\r\n\r\n",
        ],
    ),
    (
        Refusal::ChunkSize,
        &[
            "$\r\nhello\r\n0\r\n\r\n",
            "$;a\r\nhello\r\n0\r\n\r\n",
            "$ 5\r\nhello\r\n0\r\n\r\n",
            "5$ \r\nhello\r\n0\r\n\r\n",
            "5$\t;a\r\nhello\r\n0\r\n\r\n",
            "0$x5\r\nhello\r\n0\r\n\r\n",
            "0$_5\r\nhello\r\n0\r\n\r\n",
            "$-5\r\nhello\r\n0\r\n\r\n",
            "$+5\r\nhello\r\n0\r\n\r\n",
            "5$\0\r\nhello\r\n0\r\n\r\n",
            "$g\r\n",
            "800000000000000$0\r\n",
            "1000000000000000$5\r\nhello\r\n0\r\n\r\n",
            "0000000000000000$5\r\nhello\r\n0\r\n\r\n",
        ],
    ),
    (
        Refusal::ChunkExtension,
        &[
            "5;a$\0\r\nhello\r\n0\r\n\r\n",
            "0;a$\x01\r\n\r\n",
            "0;a$\x7f\r\n\r\n",
            "5;a=\"$\x0b\"\r\nhello\r\n0\r\n\r\n",
        ],
    ),
    (Refusal::Control, &["0\r\nX: a$\0\r\n\r\n"]),
    (Refusal::ObsFold, &["0\r\nX: a\r\n b\r$\n\r\n"]),
    (
        Refusal::SpaceBeforeColon,
        &["0\r\nX : a\r$\n\r\n", "0\r\nGET / HTTP/1.1\r$\n\r\n"],
    ),
    (
        Refusal::FramingInTrailers,
        &[
            "0\r\nContent-Length: 5\r$\n\r\nhello",
            "0\r\ntransfer-encoding: chunked\r$\n\r\n",
        ],
    ),
    (
        Refusal::FramingLookalike,
        &["0\r\nContent_Length: 5\r$\n\r\nhello"],
    ),
];

const CHUNKED: &str = "POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Heads that the gate leaves to hyper, which refuses them: names and lines that mean nothing to it.
const LEFT_TO_HYPER: &[&str] = &[
    "POST / HTTP/1.1\r\n\x7fTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nTransfer-Encoding\u{a0}: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\n\"Transfer-Encoding\": chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nTransfer-Encoding;: chunked\r\n\r\n0\r\n\r\n",
    "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "GET /\r\nHost: a\r\n\r\n",
];

fn entries(table: &'static Table) -> impl Iterator<Item = (&'static str, Refusal)> {
    table
        .iter()
        .flat_map(|(why, texts)| texts.iter().map(|text| (*text, *why)))
}

/// The bytes of an entry, without the mark.
fn unmarked(text: &str) -> String {
    text.replacen('$', "", 1)
}

/// All of them as whole connections: bytes, where the byte at fault stands, and why.
fn bad_connections() -> impl Iterator<Item = (Vec<u8>, usize, Refusal)> {
    let heads = entries(BAD_HEADS).map(|(text, why)| (text.to_owned(), why));
    let bodies = entries(BAD_BODIES).map(|(text, why)| (format!("{CHUNKED}{text}"), why));
    heads.chain(bodies).map(|(text, why)| {
        let at = text.find('$').expect("a byte at fault is marked");
        (unmarked(&text).into_bytes(), at, why)
    })
}

/// Feeds the stretches between `cuts` one by one; gives what hyper would see and what was refused.
fn admit(bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<Refusal>, Gate) {
    let (mut gate, mut bytes, mut refusal) = (Gate::new(), bytes.to_vec(), None);
    let mut from = 0;
    for to in cuts.iter().copied().chain([bytes.len()]) {
        let said = gate.admit(&mut bytes[from..to]);
        assert!(said.is_none() || refusal.is_none(), "refused twice");
        refusal = refusal.or(said);
        from = to;
    }
    assert_eq!(gate.refused(), refusal);
    (bytes, refusal, gate)
}

#[test]
fn each_violation_is_told_and_spoiled_where_it_stands_in_any_split() {
    for (bytes, at, why) in bad_connections() {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (whole, refusal, _) = admit(&bytes, &[]);
        assert_eq!(refusal, Some(why), "{text:?}");
        let mut expected = bytes.clone();
        expected[at] = whole[at];
        assert_eq!(whole, expected, "{text:?}: another byte was changed");

        let each: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(admit(&bytes, &each).0, whole, "{text:?} byte by byte");
        for cut in each {
            let (split, refusal, _) = admit(&bytes, &[cut]);
            assert_eq!(
                (split, refusal),
                (whole.clone(), Some(why)),
                "{text:?} cut at {cut}"
            );
        }
    }
}

#[test]
fn long_lines_that_matter_are_refused_and_others_pass() {
    let pad = " ".repeat(100);
    for (line, why) in [
        (
            format!("Content-Length: 5{pad}"),
            Some(Refusal::ContentLengthInvalid),
        ),
        (
            format!("Content-Length:{pad}5"),
            Some(Refusal::ContentLengthInvalid),
        ),
        (
            format!("Transfer-Encoding: chunked{pad}"),
            Some(Refusal::TransferEncoding),
        ),
        (format!("Upgrade:{pad}h2c"), Some(Refusal::UpgradeTooLong)),
        (format!("Cookie:{pad}{pad}x"), None),
        (format!("{}: x", "n".repeat(200)), None),
    ] {
        let head = format!("GET / HTTP/1.1\r\n{line}\r\n\r\n");
        let each: Vec<usize> = (0..head.len()).collect();
        assert_eq!(admit(head.as_bytes(), &[]).1, why, "{line}");
        assert_eq!(admit(head.as_bytes(), &each).1, why, "{line}");
    }
    let extension = format!("{CHUNKED}1;{}\r\n", "e".repeat(257));
    assert_eq!(
        admit(extension.as_bytes(), &[]).1,
        Some(Refusal::ChunkExtension)
    );
}

#[test]
fn the_version_is_found_at_the_end_of_a_request_line_of_any_length() {
    for len in [1, 60, 88, 95, 96, 97, 5000] {
        let path = "p".repeat(len);
        let head = format!("GET /{path} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        let each: Vec<usize> = (0..head.len()).collect();
        for cuts in [&[][..], &[3], &[len / 2 + 1], &[len + 9], &each] {
            let refusal = admit(head.as_bytes(), cuts).1;
            assert_eq!(
                refusal,
                Some(Refusal::TransferEncodingInHttp10),
                "{len} {cuts:?}"
            );
        }
    }
}

#[test]
fn in_head_is_from_the_first_byte_of_a_request_line_to_the_last_of_its_head() {
    let mut gate = Gate::new();
    let mut feed = |bytes: &str| {
        assert_eq!(gate.admit(&mut bytes.as_bytes().to_vec()), None);
        gate.in_head()
    };
    assert!(!feed(""));
    assert!(!feed("\r"));
    assert!(!feed("\n\r\n"));
    assert!(feed("P"));
    assert!(feed("OST / HTTP/1.1\r\n"));
    assert!(feed("Content-Length: 2\r\n\r"));
    assert!(!feed("\n"));
    assert!(!feed("a"));
    assert!(!feed("b"));
    assert!(feed("GET / HTTP/1.1\r\n"));
    assert!(!feed("\r\n"));
    assert!(!feed(CHUNKED));
    assert!(!feed("0\r\nX: a\r\n"));

    let mut gate = Gate::new();
    gate.admit(&mut b"GET / HTTP/1.1\n".to_vec());
    assert!(gate.in_head() && gate.refused().is_some());
}

/// What follows a request that may be upgraded: no HTTP, and nothing that a head may hold.
const FOREIGN: &[u8] = b"\n\x00\x81\x05hello\r\r\n";

fn passes_behind(request: &str) -> bool {
    let bytes = [request.as_bytes(), FOREIGN].concat();
    let each: Vec<usize> = (0..bytes.len()).collect();
    let (whole, split) = (admit(&bytes, &[]), admit(&bytes, &each));
    assert_eq!(whole.1, split.1, "{request}");
    whole.1.is_none() && whole.0 == bytes && split.0 == bytes
}

/// The fields of a request as hyper would give them, for the question that the server asks.
fn server_sees(request: &str) -> bool {
    let mut lines = request.split("\r\n");
    let mut words = lines.next().expect("a request line").split(' ');
    let mut built = http::Request::builder()
        .method(words.next().expect("a method"))
        .uri("/")
        .version(match words.nth(1) {
            Some("HTTP/1.0") => http::Version::HTTP_10,
            _ => http::Version::HTTP_11,
        });
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').expect("a field");
        built = built.header(name, value.trim());
    }
    opens(&built.body(()).expect("a request"))
}

#[test]
fn behind_an_upgrade_everything_passes_and_the_server_knows_of_it() {
    for (open, request) in [
        (
            true,
            "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        (true, "GET / HTTP/1.1\r\nupgrade:WebSocket\r\n\r\n"),
        (true, "GET / HTTP/1.1\r\nUpgrade: h2c, websocket\r\n\r\n"),
        (
            true,
            "GET / HTTP/1.1\r\nUpgrade: h2c\r\nUpgrade: foo/2\r\n\r\n",
        ),
        (
            true,
            "POST / HTTP/1.1\r\nUpgrade: foo\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            true,
            "POST / HTTP/1.1\r\nUpgrade: foo\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        ),
        (true, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (false, "GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n"),
        (false, "GET / HTTP/1.1\r\nUpgrade: H2C , h2c,\r\n\r\n"),
        (false, "GET / HTTP/1.1\r\nUpgrade:\r\n\r\n"),
        (false, "GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n"),
        (false, "GET / HTTP/1.1\r\nX-Upgrade: websocket\r\n\r\n"),
        (false, "CONNECTED / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (false, "connect / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        assert_eq!(passes_behind(request), open, "{request}");
        assert_eq!(server_sees(request), open, "{request}");
    }
}

#[test]
fn an_upgrade_does_not_excuse_its_own_body() {
    let request = "POST / HTTP/1.1\r\nUpgrade: foo\r\nTransfer-Encoding: chunked\r\n\r\n1\n";
    assert_eq!(admit(request.as_bytes(), &[]).1, Some(Refusal::BareLf));
}

#[test]
fn a_gate_is_small() {
    assert!(size_of::<Gate>() <= 192, "{}", size_of::<Gate>());
}
