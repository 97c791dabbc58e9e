//! The way to the broker: TCP, with TLS where the URL says so.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::dialling::Failure;
use crate::config::MqttUrl;

/// Bytes in both directions, with TLS or without.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Connects. It may take as long as the network lets it; cancel safe.
///
/// # Errors
/// In words for whoever has to mend it.
pub async fn dial(url: &MqttUrl, tls: Option<Arc<ClientConfig>>) -> Result<Box<dyn Duplex>, Failure> {
    let tcp = TcpStream::connect((url.host.as_str(), url.port)).await;
    let tcp = tcp.map_err(|error| Failure::Network(format!("cannot reach {url}: {error}")))?;
    tcp.set_nodelay(true).map_err(|error| Failure::Network(format!("cannot set up the socket: {error}")))?;
    let Some(config) = tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(url.host.clone())
        .map_err(|_| Failure::Tls("the url's host is no name that a certificate could have".to_owned()))?;
    let stream = TlsConnector::from(config).connect(name, tcp).await;
    Ok(Box::new(stream.map_err(|error| interrupted(&error))?))
}

/// Why bytes go no further.
pub fn interrupted(error: &io::Error) -> Failure {
    let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match of_tls {
        Some(error) => Failure::Tls(in_words(error)),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            Failure::Network("the broker has hung up".to_owned())
        }
        None => Failure::Network(format!("the connection is interrupted: {error}")),
    }
}

fn in_words(error: &rustls::Error) -> String {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateUnknown,
        DecryptError, UnknownCA,
    };
    match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::UnknownIssuer => {
                "the broker's certificate is from an authority that is not known here: set mqtt.tls_ca_file"
                    .to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the broker's certificate is for another host than that of mqtt.url".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the broker's certificate has expired, or this machine's clock is wrong".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the broker's certificate is not valid yet, or this machine's clock is wrong".to_owned()
            }
            other => format!("the broker's certificate is not good: {other}"),
        },
        rustls::Error::AlertReceived(
            alert @ (AccessDenied | BadCertificate | CertificateExpired | CertificateRequired
            | CertificateUnknown | DecryptError | UnknownCA),
        ) => format!("the broker does not take this machine's certificate, or misses one: {alert:?}"),
        rustls::Error::InvalidMessage(_) => "what listens there speaks no TLS".to_owned(),
        other => format!("TLS has failed: {other}"),
    }
}
