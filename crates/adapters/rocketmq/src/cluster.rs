//! What the handles of one backend share.

use std::sync::Arc;

use statehouse_contracts::Result;
use tokio::sync::Semaphore;

use crate::client::Client;
use crate::config::Config;
use crate::groups::Groups;
use crate::scheduled::ScheduledMessages;
use crate::settings::Settings;

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
        let settings = match Settings::ask(&client).await {
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
