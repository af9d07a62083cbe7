//! Sessions whose clients were refused, and go on sending.

use super::*;

/// So many sessions whose clients send messages that are larger than may be, and as much of them as anybody takes.
async fn refused(pump: &Pump, count: usize) -> Vec<(TcpStream, TcpStream)> {
    const FINAL_BINARY: u8 = 0x82;
    const MASKED_AND_LONG: u8 = 0xff;
    let mut ends = Vec::new();
    for _ in 0..count {
        let (mut client, outer) = pair();
        let (agent, inner) = pair();
        let mut tunnel = tunnel(outer, inner.into()).await;
        tunnel.speech = Speech::Websocket;
        tunnel.max_message = Some((1000, SOON));
        pump.open(tunnel).unwrap();
        client
            .write_all(&[FINAL_BINARY, MASKED_AND_LONG, 0, 0, 0, 1, 0, 0, 0, 0])
            .unwrap();
        client.set_nonblocking(true).unwrap();
        while client.write(&[0; 64 * 1024]).is_ok() {}
        ends.push((client, agent));
    }
    ends
}

#[tokio::test]
async fn all_together_are_read_no_faster_than_one() {
    const MANY: usize = 5;
    let (pump, _never_driven) = Pump::new(WorkerIndex(0)).unwrap();
    let _ends = refused(&pump, MANY).await;
    let mut inner = pump.inner.borrow_mut();
    let mut sight = pump.sight.borrow_mut();
    let mut looks = Vec::new();
    // The first of them is for those that have just been refused.
    for _ in 0..=2 * MANY {
        while {
            sight.look(Duration::ZERO, &mut inner).unwrap();
            inner.give_more();
            !inner.again.is_empty()
        } {}
        inner.look_at_the_leaving();
        looks.push(inner.again.clone());
    }
    assert_eq!(inner.leaving.len(), MANY, "were refused");
    assert!(looks.iter().all(|read_on| read_on.len() <= 1), "{looks:?}");
    let mut read_on: Vec<usize> = looks.into_iter().flatten().take(MANY).collect();
    read_on.sort_unstable();
    let all: Vec<usize> = (0..MANY).collect();
    assert_eq!(read_on, all, "each in its turn");
}
