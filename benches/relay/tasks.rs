//! What one would write first: a tokio task per session around `copy_bidirectional`, on one thread.

use std::net::{SocketAddr, TcpListener};

use tokio::net::TcpStream;

use crate::Result;

/// Relays between clients of `listener` and `upstream` for ever.
pub(crate) fn serve(listener: TcpListener, upstream: SocketAddr) -> Result<()> {
    listener.set_nonblocking(true)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?
        .block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loop {
                let (client, _) = listener.accept().await?;
                #[allow(
                    clippy::disallowed_methods,
                    reason = "the subject is a bare task per session"
                )]
                tokio::spawn(relay(client, upstream));
            }
        })
}

async fn relay(mut client: TcpStream, upstream: SocketAddr) -> std::io::Result<()> {
    let mut agent = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    agent.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut agent).await?;
    Ok(())
}
