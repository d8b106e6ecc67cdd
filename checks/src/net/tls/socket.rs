//! A TCP connection that keeps nobody waiting, and remembers how the other side began a handshake.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Enough for the first line of a reply.
const LONGEST_HEAD: usize = 80;

/// A TCP connection.
pub(crate) struct Socket {
    stream: TcpStream,
    head: Vec<u8>,
}

impl Socket {
    /// The connection to `address`.
    pub(crate) async fn connected(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        // Each command waits for its reply: Nagle's algorithm would only hold it back.
        let _ = stream.set_nodelay(true);
        Ok(Self { stream, head: Vec::new() })
    }

    /// Our end's address.
    pub(crate) fn local_address(&self) -> io::Result<IpAddr> {
        self.stream.local_addr().map(|local| local.ip())
    }

    /// Takes what has arrived already, and says how many octets that was: in clear, it is no part of a TLS handshake.
    pub(crate) fn drained(&self) -> usize {
        /// More than any buffer of a client would hold against it; an endless stream is not waited for.
        const MOST: usize = 64 * 1024;
        let mut octets = 0;
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = self.stream.try_read(&mut buffer) {
            octets += length;
            if octets > MOST {
                break;
            }
        }
        octets
    }

    /// Remembers what is read from here on.
    pub(super) fn begin(&mut self) {
        self.head.clear();
    }

    /// The first octets that were read.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// A server with Nagle's algorithm holds its reply back until its session tickets are acknowledged, which Linux
    /// delays by 40 ms, and does so again after each turn.
    fn acknowledge_at_once(&self) {
        #[cfg(target_os = "linux")]
        let _ = self.stream.set_quickack(true);
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if polled.is_pending() {
            self.acknowledge_at_once();
        }
        let wanted = LONGEST_HEAD.saturating_sub(self.head.len());
        self.head.extend(buffer.filled().iter().skip(before).take(wanted));
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
