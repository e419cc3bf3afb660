//! Opening a cluster, and its handles.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use statehouse_contracts::{Backend, BackendInfo, Endpoint, Factory, Namespace, Result};

use crate::client::Client;
use crate::config::Config;
use crate::groups::Groups;

/// The adapter's name and its one scheme.
const NAME: &str = "rocketmq";

/// Opens `rocketmq:` URLs, such as `rocketmq://ns1:9876?nameserver=ns2:9876`. See [`Config`] for
/// the parameters.
#[derive(Clone, Copy, Debug, Default)]
pub struct RocketmqFactory;

#[async_trait]
impl Factory for RocketmqFactory {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        &[NAME]
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Arc<dyn Backend>> {
        let client = Client::open(Config::of(endpoint)?).await?;
        Ok(Arc::new(RocketmqBackend {
            groups: Arc::new(Groups::new(client)),
        }))
    }
}

/// One open cluster.
#[derive(Debug)]
struct RocketmqBackend {
    groups: Arc<Groups>,
}

#[async_trait]
impl Backend for RocketmqBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn info(&self) -> Result<BackendInfo> {
        Ok(BackendInfo {
            name: NAME,
            server: "Apache RocketMQ".to_owned(),
            facts: Vec::new(),
        })
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let groups = self.groups.all().await?;
        let names: BTreeSet<Namespace> = groups.into_iter().map(|group| group.namespace).collect();
        Ok(names.into_iter().collect())
    }

    async fn close(&self) -> Result<()> {
        self.groups.client.close().await;
        Ok(())
    }
}
