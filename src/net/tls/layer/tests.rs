//! Against rustls' own buffered connection, over a wire that takes and gives what it likes.

use std::collections::VecDeque;

use rcgen::generate_simple_self_signed;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::*;
use crate::net::tls::provider;

/// A socket whose both directions are in the test's hands.
#[derive(Default)]
struct Pipe {
    to_us: VecDeque<u8>,
    from_us: VecDeque<u8>,
    /// How much may stand in `from_us`.
    room: usize,
    ended: bool,
    /// Whether a read takes all that there is, and not a piece of any size.
    is_whole: bool,
}

impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.to_us.is_empty() {
            return match self.ended {
                true => Ok(0),
                false => Err(ErrorKind::WouldBlock.into()),
            };
        }
        let most = out.len().min(self.to_us.len());
        let n = match self.is_whole {
            true => most,
            false => fastrand::usize(1..=most),
        };
        for (place, byte) in out.iter_mut().zip(self.to_us.drain(..n)) {
            *place = byte;
        }
        Ok(n)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes
            .len()
            .min(self.room.saturating_sub(self.from_us.len()));
        if n == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.from_us.extend(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Pair {
    client: ClientConnection,
    layer: Layer,
    pipe: Pipe,
}

impl Pair {
    fn new(version: &'static SupportedProtocolVersion) -> Pair {
        let made = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        server.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
        let client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        Pair {
            client: ClientConnection::new(Arc::new(client), name).unwrap(),
            layer: Layer::server(Arc::new(server)).unwrap(),
            pipe: Pipe {
                room: 64,
                ..Pipe::default()
            },
        }
    }

    /// Moves some ciphertext each way, and gives what the client has decrypted.
    fn exchange(&mut self) -> Vec<u8> {
        while self.client.wants_write() {
            let mut out = Vec::new();
            self.client.write_tls(&mut out).unwrap();
            self.pipe.to_us.extend(out);
        }
        let n = fastrand::usize(0..=self.pipe.from_us.len());
        let some: Vec<u8> = self.pipe.from_us.drain(..n).collect();
        let mut rest = &some[..];
        let mut heard = Vec::new();
        while !rest.is_empty() {
            self.client.read_tls(&mut rest).unwrap();
            self.client.process_new_packets().unwrap();
            // An end is met below.
            let _ = self.client.reader().read_to_end(&mut heard);
        }
        heard
    }

    fn open(version: &'static SupportedProtocolVersion) -> Pair {
        let mut pair = Pair::new(version);
        for _ in 0..100_000 {
            pair.exchange();
            if pair.layer.shake(&mut pair.pipe).unwrap() && !pair.client.is_handshaking() {
                return pair;
            }
        }
        panic!("no handshake");
    }
}

fn noise(length: usize) -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..))
        .take(length)
        .collect()
}

/// Random lengths both ways at once, through a narrow wire.
fn both_ways(version: &'static SupportedProtocolVersion) {
    let mut pair = Pair::open(version);
    pair.layer.take_delivered();
    let (to_server, to_client) = (noise(120_000), noise(120_000));
    let (mut given, mut taken, mut delivered) = (0, 0, 0);
    let (mut at_server, mut at_client) = (Vec::<u8>::new(), Vec::<u8>::new());
    while at_server.len() < to_server.len() || at_client.len() < to_client.len() {
        pair.pipe.room = fastrand::usize(0..40_000);
        let n = fastrand::usize(0..=(to_server.len() - given).min(20_000));
        pair.client
            .writer()
            .write_all(&to_server[given..given + n])
            .unwrap();
        given += n;
        if version == &TLS13 && fastrand::u8(..) < 8 {
            pair.client.refresh_traffic_keys().unwrap();
        }
        at_client.extend(pair.exchange());
        let mut room = vec![0; fastrand::usize(1..20_000)];
        match pair.layer.read(&mut pair.pipe, &mut room) {
            Ok(n) => at_server.extend(&room[..n]),
            Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
        }
        let n = fastrand::usize(0..=(to_client.len() - taken).min(20_000));
        taken += pair
            .layer
            .write(&mut pair.pipe, &to_client[taken..taken + n])
            .unwrap();
        delivered += pair.layer.take_delivered();
        assert!(delivered <= taken);
        assert_eq!(delivered + pair.layer.owed, taken);
    }
    assert!(at_server == to_server && at_client == to_client);
    // The ends, each after the other.
    pair.client.send_close_notify();
    pair.exchange();
    let mut room = [0; 16];
    let end = loop {
        match pair.layer.read(&mut pair.pipe, &mut room) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            end => break end,
        }
    };
    assert_eq!(end.unwrap(), 0);
    pair.pipe.room = usize::MAX;
    assert!(
        pair.layer.write(&mut pair.pipe, b"more").unwrap() == 4,
        "half closed"
    );
    pair.layer.close(&mut pair.pipe);
    pair.layer.flush(&mut pair.pipe).unwrap();
    let mut heard = Vec::new();
    while !pair.pipe.from_us.is_empty() {
        heard.extend(pair.exchange());
    }
    assert_eq!(heard, b"more");
    assert_eq!(
        pair.client.reader().read(&mut room).unwrap(),
        0,
        "a close_notify"
    );
}

#[test]
fn whatever_pieces_come_all_is_there_in_its_order() {
    for _ in 0..5 {
        both_ways(&TLS12);
        both_ways(&TLS13);
    }
}

#[test]
fn an_idle_one_holds_no_buffer() {
    for version in [&TLS12, &TLS13] {
        let mut pair = Pair::open(version);
        pair.pipe.room = usize::MAX;
        pair.client.writer().write_all(b"hello").unwrap();
        pair.exchange();
        let mut room = [0; 16];
        while pair.layer.read(&mut pair.pipe, &mut room).is_err() {}
        assert_eq!(pair.layer.write(&mut pair.pipe, b"hello").unwrap(), 5);
        let kept = pair.layer.received.capacity() + pair.layer.unsent.len();
        assert_eq!((kept, pair.layer.ahead.len()), (0, 0));
    }
}

#[test]
fn a_record_that_was_tampered_with_is_an_error_and_the_peer_is_told() {
    tampered_with(false);
}

#[test]
fn it_is_told_too_where_a_good_one_comes_with_it() {
    tampered_with(true);
}

fn tampered_with(comes_with_a_good_one: bool) {
    let mut pair = Pair::open(&TLS13);
    pair.pipe.room = usize::MAX;
    while !pair.pipe.from_us.is_empty() {
        pair.exchange();
    }
    pair.client.writer().write_all(b"hello").unwrap();
    pair.client.writer().write_all(b"again").unwrap();
    pair.exchange();
    pair.pipe.is_whole = comes_with_a_good_one;
    let last = pair.pipe.to_us.len() - 1;
    pair.pipe.to_us[last] ^= 1;
    let mut room = [0; 16];
    let error = loop {
        match pair.layer.read(&mut pair.pipe, &mut room) {
            Ok(n) => assert_eq!(&room[..n], b"hello"),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => break e,
        }
    };
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(
        pair.layer.read(&mut pair.pipe, &mut room).is_err(),
        "for good"
    );
    let alert: Vec<u8> = pair.pipe.from_us.drain(..).collect();
    assert!(!alert.is_empty());
    pair.client.read_tls(&mut &alert[..]).unwrap();
    assert!(matches!(
        pair.client.process_new_packets(),
        Err(rustls::Error::AlertReceived(_))
    ));
}

#[test]
fn an_end_without_a_close_notify_is_an_end() {
    let mut pair = Pair::open(&TLS13);
    pair.pipe.ended = true;
    let mut room = [0; 16];
    assert_eq!(pair.layer.read(&mut pair.pipe, &mut room).unwrap(), 0);
}

#[test]
fn garbage_in_the_place_of_a_handshake_is_refused() {
    for _ in 0..200 {
        let mut pair = Pair::new(&TLS13);
        pair.pipe.room = usize::MAX;
        pair.pipe.to_us.extend(noise(fastrand::usize(1..400)));
        pair.pipe.ended = true;
        while !pair.pipe.to_us.is_empty() {
            if pair.layer.shake(&mut pair.pipe).is_err() {
                break;
            }
        }
        assert!(pair.layer.shake(&mut pair.pipe).is_err());
    }
}
