//! HTTPS on loopback, for callers with a certificate of the cluster's authority only.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a caller may take to show its certificate.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be accepted, as for want of file descriptors.
const PAUSE: Duration = Duration::from_secs(1);

/// What the server shows, and whom it believes.
pub fn acceptor(certificate: &Path, key: &Path, client_ca: &Path) -> Result<TlsAcceptor, Box<dyn Error>> {
    let unusable = |path: &Path, error: &dyn Error| format!("{} is no usable PEM file: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(client_ca).map_err(|error| unusable(client_ca, &error))? {
        roots.add(root.map_err(|error| unusable(client_ca, &error))?)?;
    }
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
    let config = ServerConfig::builder().with_client_cert_verifier(clients).with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Connections whose handshake is done; those that are not there yet hold up no other.
pub struct Listener {
    address: SocketAddr,
    connections: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl Listener {
    /// Listens on a port of loopback.
    pub async fn bind(port: u16, acceptor: TlsAcceptor) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let (sender, connections) = mpsc::channel(16);
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, from)) => {
                        tokio::spawn(shake_hands(acceptor.clone(), stream, from, sender.clone()));
                    }
                    Err(error) => {
                        eprintln!("cannot accept a connection: {error}");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        });
        Ok(Self { address, connections })
    }
}

async fn shake_hands(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    from: SocketAddr,
    connections: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => drop(connections.send((stream, from)).await),
        Ok(Err(error)) => eprintln!("refused a connection from {from}: {error}"),
        Err(_) => eprintln!("a connection from {from} said nothing for {} s", PATIENCE.as_secs()),
    }
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.connections.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await, // the runtime is going down
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
