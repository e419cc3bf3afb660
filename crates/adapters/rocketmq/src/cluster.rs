//! What the handles of one backend share.

use std::sync::Arc;

use bytes::Bytes;
use rocketmq_protocol::code::request_code::RequestCode;
use statehouse_contracts::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;

use crate::client::Client;
use crate::config::Config;
use crate::groups::Groups;
use crate::request::Request;
use crate::scheduled::ScheduledMessages;
use crate::session::Broker;
use crate::settings::Settings;
use crate::tls;

/// The most sends under way at a time: the client library refuses beyond some 1,700.
const SENDS: usize = 1_000;

/// An open cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) client: Arc<Client>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) settings: Settings,
    pub(crate) scheduled: ScheduledMessages,
    /// Admits sends.
    pub(crate) sends: Semaphore,
}

impl Cluster {
    pub(crate) async fn open(config: Config) -> Result<Arc<Self>> {
        let client = Client::open(config).await?;
        let asked = match greet(&client).await {
            Ok(()) => Settings::ask(&client).await,
            Err(error) => Err(error),
        };
        let settings = match asked {
            Ok(settings) => settings,
            Err(error) => {
                client.close().await;
                return Err(error);
            }
        };
        Ok(Arc::new(Self {
            groups: Arc::new(Groups::new(client.clone())),
            client,
            settings,
            scheduled: ScheduledMessages::default(),
            sends: Semaphore::new(SENDS),
        }))
    }
}

/// Sees whether each broker lets us in: of what it refuses later it says only that.
async fn greet(client: &Arc<Client>) -> Result<()> {
    for broker in client.brokers()?.iter() {
        match heartbeat(client, broker).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(not_let_in(&error, broker, client.config.keys.is_some()));
            }
            Err(error) => {
                let tls = client.config.tls.as_ref();
                return Err(tls::explained(error, tls, &broker.address).await);
            }
        }
    }
    Ok(())
}

/// A sign of life of a client that neither sends nor receives yet: whoever is known may give it,
/// whatever else it may do.
async fn heartbeat(client: &Arc<Client>, broker: &Broker) -> Result<()> {
    let nothing = r#"{"clientID":"statehouse","consumerDataSet":[],"producerDataSet":[]}"#;
    let request = Request::new(RequestCode::HeartBeat).body(Bytes::from_static(nothing.as_bytes()));
    let answer = client.call("connect", &broker.address, request).await?;
    answer.success("connect").map(drop)
}

fn not_let_in(why: &Error, broker: &Broker, with_keys: bool) -> Error {
    let what = match with_keys {
        true => "refuses the access key or its secret key",
        false => "wants an access key and its secret key, and the URL names none",
    };
    let message = format!("the broker {} {what}: {}", broker.name, why.message());
    Error::new(ErrorKind::PermissionDenied, message).with_operation("connect")
}
