//! Both versions: what the text of the protocol has as examples, every split, and random bytes.

use std::net::{SocketAddr, TcpListener};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn client_of(header: Header) -> SocketAddr {
    match header {
        Header::Proxied(proxied) => proxied.client,
        Header::Local => panic!("local"),
    }
}

/// A header of version 2 with this command and family, these addresses and TLVs.
fn binary(command: u8, family: u8, addresses: &[u8], tlvs: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len() + tlvs.len()).unwrap();
    let mut header = v2::SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(length.to_be_bytes());
    header.extend(addresses);
    header.extend(tlvs);
    header
}

const INET: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 1, 0xbb];
const VPCE: &[u8] = b"\xea\x00\x05\x01vpce";

/// With a checksum, right or wrong by so much.
fn with_checksum(tlvs: &[u8], wrong: u32) -> Vec<u8> {
    let mut all = b"\x03\x00\x04\0\0\0\0".to_vec();
    all.extend(tlvs);
    let mut header = binary(0x21, 0x11, &INET, &all);
    let crc = crc32c::Crc32c::new().with(&header).value() ^ wrong;
    header[31..35].copy_from_slice(&crc.to_be_bytes());
    header
}

#[test]
fn lines_of_version_1() {
    for (line, client) in [
        (
            "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n",
            "192.0.2.1:12345",
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            "255.255.255.255:65535",
        ),
        ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "[2001:db8::1]:1"),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 0 2\r\n", "192.0.2.1:0"),
    ] {
        assert_eq!(
            client_of(v1::parse(line.as_bytes()).unwrap()),
            addr(client),
            "{line}"
        );
    }
    for unknown in [
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN ffff:f 1 65535 65535\r\n",
    ] {
        assert_eq!(v1::parse(unknown.as_bytes()), Ok(Header::Local));
    }
    for bad in [
        "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 12345\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443 1\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 12345 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 01 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2  443\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.2 1 443\r\n",
        "PROXY TCP4 ::1 ::1 1 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 1 443\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.2 1 443\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWNS\r\n",
    ] {
        assert_eq!(v1::parse(bad.as_bytes()), Err(Malformed::Line), "{bad}");
    }
}

#[test]
fn headers_of_version_2() {
    let v4 = v2::parse(&binary(0x21, 0x11, &INET, VPCE)).unwrap();
    let Header::Proxied(v4) = v4 else {
        panic!("local");
    };
    assert_eq!(
        (v4.client, v4.destination),
        (addr("192.0.2.1:12345"), addr("198.51.100.2:443"))
    );
    assert_eq!(v4.vpc_endpoint.as_deref(), Some(&b"\x01vpce"[..]));
    let mut six = [0; 36];
    six[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    six[31] = 1;
    six[33] = 7;
    let v6 = v2::parse(&binary(0x21, 0x21, &six, b"")).unwrap();
    assert_eq!(client_of(v6), addr("[2001:db8::]:7"));
    for local in [
        binary(0x20, 0x00, b"", b""),
        binary(0x20, 0x11, &INET, b"what"),
        binary(0x21, 0x00, b"", b"what"),
        binary(0x21, 0x31, &[b'/'; 216], b""),
    ] {
        assert_eq!(v2::parse(&local), Ok(Header::Local));
    }
    for bad in [
        binary(0x11, 0x11, &INET, b""),
        binary(0x22, 0x11, &INET, b""),
        binary(0x21, 0x41, &INET, b""),
        binary(0x21, 0x11, &INET[..11], b""),
        binary(0x21, 0x11, &INET, b"\x04\0"),
        binary(0x21, 0x11, &INET, b"\x04\0\x02a"),
        binary(0x21, 0x11, &INET, b"\x03\0\x02ab"),
        [binary(0x21, 0x11, &INET, b""), b"x".to_vec()].concat(),
    ] {
        assert_eq!(v2::parse(&bad), Err(Malformed::Field), "{bad:?}");
    }
}

#[test]
fn a_checksum_is_checked_where_there_is_one() {
    assert!(v2::parse(&with_checksum(VPCE, 0)).is_ok());
    assert_eq!(v2::parse(&with_checksum(VPCE, 1)), Err(Malformed::Checksum));
    let mut flipped = with_checksum(VPCE, 0);
    flipped[16] ^= 1;
    assert_eq!(v2::parse(&flipped), Err(Malformed::Checksum));
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(to), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// What comes of these bytes, sent in pieces cut at these places, and what is left behind it.
async fn sent(bytes: &[u8], cuts: &[usize]) -> (Result<Header, ReadError>, Vec<u8>) {
    let (mut near, mut far) = pair().await;
    near.set_nodelay(true).unwrap();
    let send = async {
        let mut at = 0;
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            // Who reads nothing more has made up its mind.
            let _ = near.write_all(&bytes[at..cut]).await;
            at = cut;
            tokio::task::yield_now().await;
        }
        let _ = near.shutdown().await;
    };
    let take = async {
        let header = read(&mut far).await;
        let mut rest = Vec::new();
        let _ = far.read_to_end(&mut rest).await;
        (header, rest)
    };
    tokio::join!(send, take).1
}

#[tokio::test]
async fn what_is_behind_a_header_stays_in_the_socket_however_it_comes() {
    let shortest = b"PROXY UNKNOWN\r\n".to_vec();
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n".to_vec();
    for header in [
        shortest,
        line,
        with_checksum(VPCE, 0),
        binary(0x20, 0, b"", b""),
    ] {
        for behind in ["", "\n", "GET / HTTP/1.1\r\n\r\n"] {
            let all = [&header, behind.as_bytes()].concat();
            for cuts in [
                vec![],
                (1..all.len()).collect(),
                vec![header.len()],
                vec![13],
            ] {
                let (read, rest) = sent(&all, &cuts).await;
                assert!(read.is_ok(), "{read:?}");
                assert_eq!(rest, behind.as_bytes());
            }
        }
        for end in 1..header.len() {
            let (read, _) = sent(&header[..end], &[]).await;
            assert!(
                matches!(read, Err(ReadError::Ended(_))),
                "{read:?} at {end}"
            );
        }
    }
    assert!(matches!(sent(b"", &[]).await.0, Err(ReadError::Nothing)));
}

#[tokio::test]
async fn what_is_too_long_is_not_read_to_its_end() {
    let line = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200], b"\r\n".to_vec()].concat();
    let long = binary(0x21, 0x11, &INET, &[0; 17_000]);
    for bytes in [line, long] {
        let read = sent(&bytes, &[]).await.0;
        assert!(
            matches!(read, Err(ReadError::Malformed(Malformed::TooLong))),
            "{read:?}"
        );
    }
    let read = sent(b"GET / HTTP/1.1\r\n", &[]).await.0;
    assert!(matches!(
        read,
        Err(ReadError::Malformed(Malformed::NoHeader))
    ));
}

fn whose(client: &str, to: &str, vpc_endpoint: Option<&[u8]>) -> Proxied {
    Proxied {
        client: addr(client),
        destination: addr(to),
        vpc_endpoint: vpc_endpoint.map(Into::into),
    }
}

#[test]
fn what_is_written_is_read_back() {
    for (client, to) in [
        ("192.0.2.1:12345", "198.51.100.2:443"),
        ("[2001:db8::1]:1", "[::1]:65535"),
        ("192.0.2.1:12345", "[2001:db8::2]:443"),
    ] {
        let plain = whose(client, to, None);
        let line = write::line(Some(&plain));
        assert!(line.len() <= V1_LONGEST, "{line}");
        let read = Header::Proxied(plain.clone());
        assert_eq!(v1::parse(line.as_bytes()), Ok(read), "{line}");
        for vpc_endpoint in [None, Some(&b"\x01vpce-0123"[..])] {
            let whose = whose(client, to, vpc_endpoint);
            let mut header = write::binary(Some(&whose));
            assert_eq!(v2::parse(&header), Ok(Header::Proxied(whose)));
            header[17] ^= 1;
            assert_eq!(v2::parse(&header), Err(Malformed::Checksum));
        }
    }
    assert_eq!(v1::parse(write::line(None).as_bytes()), Ok(Header::Local));
    assert_eq!(v2::parse(&write::binary(None)), Ok(Header::Local));
}

proptest! {
    #[test]
    fn random_bytes_never_panic_and_are_never_a_client(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = v1::parse(&bytes);
        prop_assert!(v2::parse(&bytes).is_err());
        let _ = v1::parse(&[v1::PREFIX, &bytes, b"\r\n"].concat());
        let _ = v2::parse(&[&v2::SIGNATURE[..], &bytes].concat());
    }

    #[test]
    fn random_fields_never_panic(
        command in any::<u8>(), family in any::<u8>(),
        addresses in proptest::collection::vec(any::<u8>(), 0..40),
        tlvs in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let _ = v2::parse(&binary(command, family, &addresses, &tlvs));
        let _ = v2::parse(&binary(0x21, 0x11, &INET, &tlvs));
    }

    #[test]
    fn one_wrong_bit_is_noticed_by_the_checksum(at in 16usize..40, bit in 0u8..8) {
        let mut header = with_checksum(VPCE, 0);
        // The type of the TLV itself can be anything.
        let at = if at == 28 { 29 } else { at.min(header.len() - 1) };
        header[at] ^= 1 << bit;
        prop_assert!(v2::parse(&header).is_err());
    }

    #[test]
    fn lines_say_whose_they_are(a in any::<[u8; 4]>(), b in any::<[u16; 8]>(), port in any::<u16>()) {
        let v4 = SocketAddr::new(std::net::IpAddr::from(a), port);
        let line = format!("PROXY TCP4 {} 10.0.0.1 {port} 1\r\n", v4.ip());
        prop_assert_eq!(client_of(v1::parse(line.as_bytes()).unwrap()), v4);
        let v6 = SocketAddr::new(std::net::IpAddr::from(b).to_canonical(), port);
        let line = format!("PROXY TCP6 {} ::2 {port} 1\r\n", std::net::Ipv6Addr::from(b));
        prop_assert_eq!(client_of(v1::parse(line.as_bytes()).unwrap()), v6);
    }
}
