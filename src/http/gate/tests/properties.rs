use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::against_hyper::{Reads, serve};
use super::{Refusal, admit};

#[derive(Clone, Debug)]
enum Body {
    None,
    Length(Vec<u8>),
    Chunked {
        chunks: Vec<(Vec<u8>, &'static str)>,
        trailers: Vec<(String, String)>,
    },
}

#[derive(Clone, Debug)]
struct Sent {
    empty_lines: usize,
    path: String,
    http_10: bool,
    fields: Vec<(String, String)>,
    body: Body,
}

fn any_field() -> impl Strategy<Value = (String, String)> {
    // A prefix keeps the name from being one that means something.
    (
        "x-[A-Za-z0-9!#$%&'*+.^_`|~-]{0,120}",
        "[\t ]{0,3}([!-~]([ -~\t\u{a0}-\u{ff}]{0,120}[!-~])?)?",
    )
}

fn any_body() -> impl Strategy<Value = Body> {
    let extension = prop_oneof![
        4 => Just(""),
        1 => Just(";"),
        1 => Just(";name=value"),
        1 => Just("; n = \"a\tb\";m"),
    ];
    let chunk = (vec(any::<u8>(), 1..40), extension);
    prop_oneof![
        Just(Body::None),
        vec(any::<u8>(), 0..300).prop_map(Body::Length),
        (vec(chunk, 0..4), vec(any_field(), 0..3))
            .prop_map(|(chunks, trailers)| Body::Chunked { chunks, trailers }),
    ]
}

fn any_request() -> impl Strategy<Value = Sent> {
    (
        0usize..3,
        "/[a-z0-9]{0,150}",
        any::<bool>(),
        vec(any_field(), 0..6),
        any_body(),
    )
        .prop_map(|(empty_lines, path, http_10, fields, body)| {
            let http_10 = http_10 && !matches!(body, Body::Chunked { .. });
            Sent {
                empty_lines,
                path,
                http_10,
                fields,
                body,
            }
        })
}

impl Sent {
    fn write(&self, out: &mut Vec<u8>) {
        let put = |out: &mut Vec<u8>, text: &str| out.extend_from_slice(text.as_bytes());
        put(out, &"\r\n".repeat(self.empty_lines));
        let version = if self.http_10 {
            "1.0\r\nConnection: keep-alive"
        } else {
            "1.1"
        };
        put(out, &format!("POST {} HTTP/{version}\r\n", self.path));
        for (name, value) in &self.fields {
            put(out, &format!("{name}:{value}\r\n"));
        }
        match &self.body {
            Body::None => put(out, "\r\n"),
            Body::Length(bytes) => {
                put(out, &format!("CONTENT-length: \t{} \r\n\r\n", bytes.len()));
                out.extend_from_slice(bytes);
            }
            Body::Chunked { chunks, trailers } => {
                put(out, "transfer-Encoding:Chunked\t\r\n\r\n");
                for (data, extension) in chunks {
                    put(out, &format!("{:02X}{extension}\r\n", data.len()));
                    out.extend_from_slice(data);
                    put(out, "\r\n");
                }
                put(out, "000\r\n");
                for (name, value) in trailers {
                    put(out, &format!("{name}:{value}\r\n"));
                }
                put(out, "\r\n");
            }
        }
    }

    fn body(&self) -> Vec<u8> {
        match &self.body {
            Body::None => Vec::new(),
            Body::Length(bytes) => bytes.clone(),
            Body::Chunked { chunks, .. } => {
                chunks.iter().flat_map(|(data, _)| data.clone()).collect()
            }
        }
    }
}

fn write(requests: &[Sent]) -> Vec<u8> {
    let mut out = Vec::new();
    requests.iter().for_each(|request| request.write(&mut out));
    out
}

fn sorted(cuts: &[Index], len: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

proptest! {
    #[test]
    fn valid_requests_pass_unchanged_in_any_split(
        requests in vec(any_request(), 1..5),
        cuts in vec(any::<Index>(), 0..20),
    ) {
        let bytes = write(&requests);
        let (seen, refusal, gate) = admit(&bytes, &sorted(&cuts, bytes.len()));
        prop_assert_eq!((seen, refusal), (bytes, None));
        prop_assert!(!gate.in_head());
    }

    /// The gate stands where the requests end, not a byte before or behind.
    #[test]
    fn what_follows_valid_requests_is_a_head_again(
        requests in vec(any_request(), 1..4),
        cuts in vec(any::<Index>(), 0..20),
    ) {
        let mut bytes = write(&requests);
        let fault = bytes.len() + "GET / HTTP/1.1".len();
        bytes.extend_from_slice(b"GET / HTTP/1.1\nHost: a\n\n");
        let (seen, refusal, _) = admit(&bytes, &sorted(&cuts, bytes.len()));
        bytes[fault] = 0;
        prop_assert_eq!((seen, refusal), (bytes, Some(Refusal::BareLf)));
    }

    #[test]
    fn damaged_requests_are_judged_the_same_in_any_split(
        requests in vec(any_request(), 1..3),
        damage in vec((any::<Index>(), prop_oneof![
            any::<u8>(), Just(b'\n'), Just(b'\r'), Just(b' '), Just(b':'), Just(0),
        ]), 1..4),
        cuts in vec(any::<Index>(), 0..20),
    ) {
        let mut bytes = write(&requests);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let each: Vec<usize> = (0..bytes.len()).collect();
        let whole = admit(&bytes, &[]);
        for cuts in [sorted(&cuts, bytes.len()), each] {
            let split = admit(&bytes, &cuts);
            prop_assert_eq!((&split.0, split.1), (&whole.0, whole.1));
            prop_assert_eq!(split.2.in_head(), whole.2.in_head());
        }
    }

    #[test]
    fn hyper_serves_valid_requests_behind_the_gate(
        requests in vec(any_request(), 1..4),
        cut in any::<Index>(),
    ) {
        let bytes = write(&requests);
        let reads = Reads::CutAt(cut.index(bytes.len()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let course = runtime.block_on(serve(&bytes, reads, true, true));
        let sent: Vec<_> =
            requests.iter().map(|sent| (sent.path.clone(), Some(sent.body()))).collect();
        prop_assert_eq!(course.served, sent);
    }
}
