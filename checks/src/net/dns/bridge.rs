//! A DNS server on loopback that answers from the one DNS layer: a library that asks by itself sees what we see.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use futures_util::{
    future::{Either, FutureExt, LocalBoxFuture, select},
    stream::{FuturesUnordered, StreamExt},
};
use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    proto::op::{Message, ResponseCode},
};
use syntax::Name;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

use super::Dns;

/// The longest answer over UDP to a client that says nothing else (RFC 1035 section 4.2.1), in octets.
const UDP_PAYLOAD: usize = 512;

/// The server, on free ports: one over UDP, another over TCP, since the same number need not be free for both.
pub(crate) struct Bridge<'a> {
    dns: &'a Dns,
    udp: UdpSocket,
    tcp: TcpListener,
}

impl<'a> Bridge<'a> {
    pub(crate) async fn open(dns: &'a Dns) -> io::Result<Self> {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Ok(Self { dns, udp, tcp })
    }

    /// Where it is over UDP, and where over TCP.
    fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.udp.local_addr()?, self.tcp.local_addr()?))
    }

    /// hickory's resolver, which asks here and nowhere else.
    pub(crate) fn resolver(&self) -> Option<TokioResolver> {
        let (over_udp, over_tcp) = self.addresses().ok()?;
        let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
        (udp.port, tcp.port) = (over_udp.port(), over_tcp.port());
        let server = NameServerConfig::new(over_udp.ip(), true, vec![udp, tcp]);
        let mut options = ResolverOpts::default();
        options.timeout = Duration::from_secs(5);
        options.attempts = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        // Without a TLS configuration of its own the resolver would read the system's roots, which nobody needs here.
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
        Resolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .with_tls_config(tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
            .build()
            .ok()
    }

    /// What `client` comes to while it is served.
    pub(crate) async fn while_serving<T>(&self, client: impl Future<Output = T>) -> T {
        let (client, serve) = (std::pin::pin!(client), std::pin::pin!(self.serve()));
        match select(client, serve).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right((never, _)) => match never {},
        }
    }

    async fn serve(&self) -> std::convert::Infallible {
        let mut answering: FuturesUnordered<LocalBoxFuture<'_, ()>> = FuturesUnordered::new();
        let mut query = vec![0; 4096];
        loop {
            tokio::select! {
                Ok((length, client)) = self.udp.recv_from(&mut query) => {
                    let query = query.get(..length).unwrap_or_default().to_vec();
                    answering.push(async move {
                        if let Some(answer) = self.answer(&query, true).await {
                            let _ = self.udp.send_to(&answer, client).await;
                        }
                    }.boxed_local());
                }
                Ok((stream, _)) = self.tcp.accept() => answering.push(async move {
                    let _ = self.converse(stream).await;
                }.boxed_local()),
                Some(()) = answering.next() => {}
            }
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let mut query = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut query).await?;
            let answer = self.answer(&query, false).await.unwrap_or_default();
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat()).await?;
        }
    }

    /// The answer as it came to us, under the query's id. What we could not find out is SERVFAIL.
    async fn answer(&self, query: &[u8], over_udp: bool) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).ok()?;
        let asked = query.queries.first()?;
        let (name, rtype) = (Name::from(asked.name().clone()), asked.query_type());
        let mut failure = Message::error_msg(query.metadata.id, query.metadata.op_code, ResponseCode::ServFail);
        failure.add_query(asked.clone());
        match self.dns.message(&name, rtype).await {
            Ok(reply) if over_udp && reply.len() > UDP_PAYLOAD.max(query.max_payload().into()) => {
                failure.metadata.response_code = ResponseCode::NoError;
                failure.metadata.truncation = true;
                failure.to_vec().ok()
            }
            Ok(reply) => {
                let mut message = query.metadata.id.to_be_bytes().to_vec();
                message.extend(reply.iter().skip(message.len()));
                Some(message)
            }
            Err(_) => failure.to_vec().ok(),
        }
    }
}
