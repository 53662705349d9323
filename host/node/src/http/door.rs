//! The front of an HTTP service: accepts connections up to a bound, and gives up on peers that stay silent or take
//! nothing. Whoever can reach the port, token or not, cannot use up the node's descriptors, nor keep others out for ever.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

use crate::limits::HTTP_HEAD_BYTES;

/// After an accept that failed: nothing is gained by trying again at once where descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a service puts up with.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at a time.
    pub connections: usize,
    /// Time until a request's head is there.
    pub head: Duration,
    /// Time that a request's body may take.
    pub body: Duration,
    /// Time that a peer may take none of its answer.
    pub write_stall: Duration,
}

/// What lies between a TCP connection and its request.
pub trait Entrance: Clone + Send + Sync + 'static {
    /// Held for as long as the connection lasts; the request carries it among its extensions.
    type Pass: Clone + Send + Sync + 'static;
    /// What requests are read from.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Whether a connection from an address is served; without a pass it is closed at once.
    fn admit(&self, from: IpAddr) -> Option<Self::Pass>;

    /// What requests are read from.
    ///
    /// # Errors
    /// Any; the connection is closed.
    fn enter(&self, socket: TcpStream) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Everybody may come, and nothing is encrypted: for loopback.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl Entrance for Plain {
    type Pass = ();
    type Stream = TcpStream;

    fn admit(&self, _: IpAddr) -> Option<()> {
        Some(())
    }

    async fn enter(&self, socket: TcpStream) -> io::Result<TcpStream> {
        Ok(socket)
    }
}

/// Serves until `stop` is ready; requests under way are finished.
pub async fn serve(
    listener: TcpListener,
    entrance: impl Entrance,
    router: Router,
    bounds: Bounds,
    stop: impl Future<Output = ()>,
) {
    let seats = Arc::new(Semaphore::new(bounds.connections));
    let (stopping, _) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let next = async {
            // Closed by nobody.
            let seat = Arc::clone(&seats).acquire_owned().await.ok();
            (listener.accept().await, seat)
        };
        tokio::select! {
            () = &mut stop => break,
            (accepted, seat) = next => match accepted {
                Ok((socket, from)) => {
                    let Some(pass) = entrance.admit(from.ip()) else { continue };
                    let (entrance, router, mut stopping) = (entrance.clone(), router.clone(), stopping.subscribe());
                    connections.spawn(async move {
                        // What a peer does to its own connection is no news.
                        let entered = tokio::select! {
                            entered = entrance.enter(socket) => entered.ok(),
                            _ = stopping.wait_for(|stopping| *stopping) => None,
                        };
                        if let Some(stream) = entered {
                            connection(stream, pass, router, bounds, stopping).await;
                        }
                        drop(seat);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "an HTTP connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    stopping.send_replace(true);
    while connections.join_next().await.is_some() {}
}

async fn connection<P: Clone + Send + Sync + 'static>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    pass: P,
    router: Router,
    bounds: Bounds,
    mut stopping: watch::Receiver<bool>,
) {
    let stream = TokioIo::new(Impatient { stream, patience: bounds.write_stall, stalled: None });
    let mut http = http1::Builder::new();
    // A request a connection: whoever holds a seat gives it back, and the next in the queue has it.
    http.keep_alive(false);
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head).max_header_size(HTTP_HEAD_BYTES);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(pass.clone());
        router.call(request)
    });
    let mut served = pin!(http.serve_connection(stream, service));
    tokio::select! {
        _ = served.as_mut() => return,
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = served.await;
}

/// A stream that fails where its peer takes nothing for too long.
struct Impatient<S> {
    stream: S,
    patience: Duration,
    /// Since the first write that found no room, until one does.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.judge(cx, written)
    }
}

#[cfg(test)]
mod tests;
