//! What a task pays for the bytes that it moves, so that others have their turn.

use std::pin::pin;
use std::task::{Context, Poll};

use tokio::task::coop::consume_budget;

/// Bytes for which a task pays as for one read or write. It may make 128 of them before others have
/// their turn, and a large body would be megabytes by then.
const COIN: usize = 1024;

/// Has the task pay for what it has moved. Once it has nothing left, its next read or write waits until the others had
/// their turn.
pub(super) fn pay_for(n: usize, cx: &mut Context<'_>) {
    for _ in 0..n / COIN {
        if poll_solvent(cx).is_pending() {
            return;
        }
    }
}

/// Ready if the task may go on; if not, it has another turn behind the others.
pub(super) fn poll_solvent(cx: &mut Context<'_>) -> Poll<()> {
    pin!(consume_budget()).poll(cx)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::task::yield_now;

    use super::*;

    /// What a task may move in a turn, in pieces of this size.
    async fn moved_in_a_turn(piece: usize) -> usize {
        let mut moved = 0;
        poll_fn(|cx| {
            while moved < 1 << 20 && poll_solvent(cx).is_ready() {
                pay_for(piece, cx);
                moved += piece;
            }
            Poll::Ready(moved)
        })
        .await
    }

    #[tokio::test]
    async fn a_turn_is_over_behind_so_many_bytes() {
        for piece in [COIN, 16 * COIN, 300 * COIN] {
            yield_now().await;
            let moved = moved_in_a_turn(piece).await;
            assert!(moved <= piece.max(128 * COIN), "{moved} by {piece}");
            assert!(moved >= 48 * COIN, "{moved} by {piece}");
        }
    }

    #[tokio::test]
    async fn the_next_turn_is_paid_for_anew() {
        let mut turns = 0;
        let all = poll_fn(|cx| {
            turns += 1;
            pay_for(1000 * COIN, cx);
            match turns {
                3 => Poll::Ready(()),
                // It was woken by what it could not pay.
                _ => Poll::Pending,
            }
        });
        let limit = std::time::Duration::from_secs(10);
        tokio::time::timeout(limit, all).await.unwrap();
    }
}
