//! How a drain takes leave of a WebSocket: a Close between messages, nothing behind it, nothing lost.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::harness::agent::Agent;
use crate::harness::client::websocket::{self, ACCEPT};
use crate::harness::frames::{BINARY, CLOSE, CONTINUATION, Frame, PING, TEXT};
use crate::harness::ledger::message;
use crate::harness::proxy::Builder;
use crate::harness::wire::{End, Wire};
use crate::harness::{Proxy, within};

/// An agent that shakes hands and leaves the rest to the test.
fn open_handed() -> (Agent, mpsc::UnboundedReceiver<Wire>) {
    let (told, wires) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |_, mut wire| {
        let told = told.clone();
        async move {
            if wire.head().await.is_none() {
                return;
            }
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                 upgrade: websocket\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n"
            );
            let _ = wire.send(answer).await;
            let _ = told.send(wire);
        }
    });
    (agent, wires)
}

/// A WebSocket through the proxy with both ends in the test's hands.
pub(crate) struct Session {
    pub(crate) proxy: Proxy,
    pub(crate) client: Wire,
    pub(crate) agent: Wire,
    _listening: Agent,
}

impl Session {
    pub(crate) async fn open(configure: impl FnOnce(Builder) -> Builder) -> Session {
        let mut session = Session::open_unspoken(configure).await;
        // Once bytes have gone both ways the handshake is behind everyone.
        session.says_to_agent(Frame::new(TEXT, "hello")).await;
        session.says_to_client(Frame::new(TEXT, "hello")).await;
        session
    }

    /// One that nobody has spoken in yet.
    async fn open_unspoken(configure: impl FnOnce(Builder) -> Builder) -> Session {
        let (listening, mut wires) = open_handed();
        let proxy = configure(Proxy::http(listening.addr).brief_lame_duck())
            .start()
            .await;
        let client = websocket::open(proxy.addr("web"), "/").await.unwrap();
        let agent = within(10, "the agent's end", wires.recv()).await.unwrap();
        Session {
            proxy,
            client,
            agent,
            _listening: listening,
        }
    }

    pub(crate) async fn says_to_agent(&mut self, frame: Frame) {
        self.client.send(frame.masked()).await.unwrap();
        let got = self.agent_hears().await.expect("the agent hears it");
        assert_eq!(
            Frame {
                masked: false,
                ..got
            },
            frame
        );
    }

    pub(crate) async fn says_to_client(&mut self, frame: Frame) {
        self.agent.send(frame.plain()).await.unwrap();
        assert_eq!(self.client_hears().await, Some(frame));
    }

    pub(crate) async fn client_hears(&mut self) -> Option<Frame> {
        within(20, "a frame at the client", Frame::read(&mut self.client)).await
    }

    pub(crate) async fn agent_hears(&mut self) -> Option<Frame> {
        within(20, "a frame at the agent", Frame::read(&mut self.agent)).await
    }

    /// The drain's Close at the client, and its answer.
    pub(crate) async fn client_is_asked_to_go(&mut self, code: u16) {
        let close = self.client_hears().await.expect("a Close");
        assert_eq!(
            (close.opcode, close.close_code()),
            (CLOSE, Some(code)),
            "{close:?}"
        );
        assert!(!close.masked && close.last);
    }

    /// Each side's Close, whoever is asked first, answered at once, and the end of everything in
    /// order.
    pub(crate) async fn both_leave_in_order(mut self, code: u16) {
        let (client, agent) = (&mut self.client, &mut self.agent);
        let at_client = async {
            let close = Frame::read(client).await.expect("a Close at the client");
            assert_eq!(
                (close.close_code(), close.masked),
                (Some(code), false),
                "{close:?}"
            );
            client.send(Frame::close(code).masked()).await.unwrap();
            let end = client.rest().await;
            client.finish().await;
            end
        };
        let at_agent = async {
            let close = Frame::read(agent).await.expect("a Close at the agent");
            assert_eq!(
                (close.close_code(), close.masked),
                (Some(code), true),
                "{close:?}"
            );
            agent.send(Frame::close(code).plain()).await.unwrap();
            agent.finish().await;
            agent.rest().await
        };
        let both = async { tokio::join!(at_client, at_agent) };
        let in_order = || (vec![], End::Fin);
        assert_eq!(within(20, "the ends", both).await, (in_order(), in_order()));
        let exit = self.proxy.exit_within(10).await;
        assert_eq!(exit.code, Some(0));
    }

    /// The agent's Close, answered, and then the end of everything in order.
    pub(crate) async fn ends_in_order(mut self, code: u16) {
        let close = self.agent_hears().await.expect("a Close at the agent");
        assert_eq!(
            (close.opcode, close.close_code()),
            (CLOSE, Some(code)),
            "{close:?}"
        );
        assert!(close.masked, "the proxy is a client there: {close:?}");
        self.agent.send(Frame::close(code).plain()).await.unwrap();
        self.agent.finish().await;
        let at_agent = within(20, "the end at the agent", self.agent.rest()).await;
        assert_eq!(at_agent, (vec![], End::Fin));
        let at_client = within(20, "the end at the client", self.client.rest()).await;
        assert_eq!(
            at_client,
            (vec![], End::Fin),
            "nothing comes behind the Close"
        );
        self.client.finish().await;
        assert_eq!(self.proxy.exit_within(10).await.code, Some(0));
    }
}

#[tokio::test]
async fn a_quiet_session_is_closed_in_order() {
    let mut session = Session::open(|proxy| proxy.window("10s")).await;
    session.proxy.terminate();
    session.client_is_asked_to_go(1012).await;
    session
        .client
        .send(Frame::close(1012).masked())
        .await
        .unwrap();
    session.ends_in_order(1012).await;
}

#[tokio::test]
async fn the_code_is_the_operators_choice() {
    let mut session =
        Session::open(|proxy| proxy.window("10s").drain("websocket_close_code", "1001")).await;
    session.proxy.terminate();
    session.client_is_asked_to_go(1001).await;
    session
        .client
        .send(Frame::close(1001).masked())
        .await
        .unwrap();
    session.ends_in_order(1001).await;
}

#[tokio::test]
async fn a_message_to_the_client_that_has_begun_ends_before_the_close() {
    let mut session = Session::open(|proxy| proxy.window("12s")).await;
    session
        .says_to_client(Frame::part(TEXT, "a message in "))
        .await;
    session.proxy.terminate();
    session.proxy.phase("closing").await;
    // Its middle comes while the drain would like to close, a Ping between, and no Close inside.
    session
        .says_to_client(Frame::part(CONTINUATION, "several "))
        .await;
    session
        .says_to_client(Frame::new(PING, "still there"))
        .await;
    let nothing = Duration::from_millis(500);
    assert!(
        session.client.stays_silent(nothing).await,
        "a Close inside a message"
    );
    session
        .says_to_client(Frame::new(CONTINUATION, "parts"))
        .await;
    session.both_leave_in_order(1012).await;
}

#[tokio::test]
async fn half_a_frame_to_the_client_is_completed_before_the_close() {
    let mut session = Session::open(|proxy| proxy.window("12s")).await;
    let large = Frame::new(BINARY, vec![9; 100_000]);
    let bytes = large.plain();
    let (first, second) = bytes.split_at(50_003);
    session.agent.send(first).await.unwrap();
    within(10, "its first half", async {
        while session.client.ahead.len() < first.len() {
            assert!(session.client.more().await);
        }
    })
    .await;
    session.proxy.terminate();
    session.proxy.phase("closing").await;
    assert!(
        session
            .client
            .stays_silent(Duration::from_millis(500))
            .await
    );
    session.agent.send(second).await.unwrap();
    assert_eq!(session.client_hears().await, Some(large));
    session.both_leave_in_order(1012).await;
}

#[tokio::test]
async fn who_has_just_come_is_answered_before_the_close() {
    let mut session = Session::open_unspoken(|proxy| proxy.window("12s")).await;
    session.proxy.terminate();
    session.proxy.phase("closing").await;
    let nothing = Duration::from_millis(300);
    assert!(
        session.client.stays_silent(nothing).await,
        "a Close that the first question would cross"
    );
    session.says_to_agent(Frame::new(TEXT, "a question")).await;
    session.says_to_client(Frame::new(TEXT, "its answer")).await;
    session.client_is_asked_to_go(1012).await;
    let close = Frame::close(1012).masked();
    session.client.send(close).await.unwrap();
    session.ends_in_order(1012).await;
}

#[tokio::test]
async fn what_the_client_says_until_its_close_reaches_the_agent() {
    let mut session = Session::open(|proxy| proxy.window("12s")).await;
    session
        .says_to_agent(Frame::part(TEXT, "a message that has "))
        .await;
    session.proxy.terminate();
    session.client_is_asked_to_go(1012).await;
    // RFC 6455, 5.5.1: an end may finish its message before it answers a Close.
    session
        .says_to_agent(Frame::new(CONTINUATION, "begun"))
        .await;
    for number in 0..50 {
        session
            .says_to_agent(Frame::new(TEXT, message(number)))
            .await;
    }
    session
        .says_to_agent(Frame::new(BINARY, vec![3; 300_000]))
        .await;
    session
        .client
        .send(Frame::close(1012).masked())
        .await
        .unwrap();
    session.ends_in_order(1012).await;
}

#[tokio::test]
async fn an_agent_that_goes_first_is_not_told_to_go() {
    let mut session = Session::open(|proxy| proxy.window("20s").drain("finish", "\"15s\"")).await;
    session.proxy.terminate();
    session.proxy.phase("draining").await;
    session.says_to_client(Frame::close(4000)).await;
    session.says_to_agent(Frame::close(4000)).await;
    session.agent.finish().await;
    let at_client = within(10, "the end", session.client.rest()).await;
    assert_eq!(at_client, (vec![], End::Fin));
    session.client.finish().await;
    assert_eq!(within(10, "the end", session.agent.rest()).await.0, b"");
    assert_eq!(session.proxy.exit_within(10).await.code, Some(0));
}

#[tokio::test]
async fn a_stream_that_breaks_framing_is_relayed_to_the_byte() {
    let mut session = Session::open(|proxy| proxy.window("6s")).await;
    // Reserved opcodes, a control frame too long, a length with its top bit set.
    let nonsense = [
        &[0xb3, 0x7f][..],
        &[0xff; 8],
        &[0x89, 0x7e, 0xff, 0xff],
        b"and on it goes",
    ];
    let nonsense = nonsense.concat();
    session.agent.send(&nonsense).await.unwrap();
    let got = within(10, "the nonsense", session.client.exactly(nonsense.len())).await;
    assert_eq!(got.as_deref(), Some(&nonsense[..]));
    session.client.send(&nonsense).await.unwrap();
    let got = within(10, "the nonsense", session.agent.exactly(nonsense.len())).await;
    assert_eq!(got.as_deref(), Some(&nonsense[..]));
    // No boundary is known, so no frame is put in; it ends with its connection.
    session.proxy.terminate();
    let (heard, _) = within(10, "the end", session.client.rest()).await;
    assert_eq!(
        heard, b"",
        "bytes of the proxy's own in a stream that it does not understand"
    );
    let exit = session.proxy.exit_within(10).await;
    assert!(matches!(exit.code, Some(0 | 3)), "{exit:?}");
}

#[tokio::test]
async fn a_client_that_never_answers_is_cut_and_counted() {
    let mut session = Session::open(|proxy| proxy.window("5s")).await;
    let begun = session.proxy.terminate();
    session.client_is_asked_to_go(1012).await;
    let exit = session.proxy.exit_within(20).await;
    assert!(
        exit.at - begun <= Duration::from_secs(5),
        "{:?}",
        exit.at - begun
    );
    assert_eq!(exit.code, Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_and_fragmented_messages_pass_untouched() {
    let (listening, mut wires) = open_handed();
    let proxy = Proxy::http(listening.addr).start().await;
    let mut client = websocket::open(proxy.addr("web"), "/").await.unwrap();
    let mut agent = within(10, "the agent's end", wires.recv()).await.unwrap();
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000] {
        for frame in [
            Frame::part(BINARY, vec![size as u8; size]),
            Frame::new(PING, vec![1; size.min(125)]),
            Frame::new(CONTINUATION, vec![2; size / 2]),
        ] {
            let (masked, plain) = (frame.masked(), frame.plain());
            let (sent, got) = tokio::join!(
                client.send(masked),
                within(20, "the frame at the agent", Frame::read(&mut agent))
            );
            sent.unwrap();
            let got = got.expect("a frame");
            assert!(got.masked, "masking is passed on as it is");
            assert_eq!(
                Frame {
                    masked: false,
                    ..got
                },
                frame,
                "{size}"
            );
            let (sent, got) = tokio::join!(
                agent.send(plain),
                within(20, "the frame at the client", Frame::read(&mut client))
            );
            sent.unwrap();
            assert_eq!(got, Some(frame), "{size}");
        }
    }
}
