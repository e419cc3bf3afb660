//! Opening a cluster, and its handles.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use statehouse_contracts::{
    Backend, BackendInfo, Consumer, Endpoint, Error, Factory, Namespace, Producer, Result, Scope,
};

use crate::broadcast::Hub;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::consumer::RocketmqConsumer;
use crate::pop::engine::Pop;
use crate::producer::RocketmqProducer;
use crate::settings::Settings;

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
        let cluster = Cluster::open(Config::of(endpoint)?).await?;
        Ok(Arc::new(RocketmqBackend {
            pop: Pop::new(cluster.clone()),
            hub: Hub::new(cluster.clone()),
            cluster,
        }))
    }
}

/// One open cluster.
#[derive(Debug)]
struct RocketmqBackend {
    cluster: Arc<Cluster>,
    pop: Arc<Pop>,
    hub: Arc<Hub>,
}

impl RocketmqBackend {
    fn open(&self) -> Result<()> {
        match self.cluster.client.closing.is_cancelled() {
            true => Err(Error::closed()),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Backend for RocketmqBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn info(&self) -> Result<BackendInfo> {
        let settings = Settings::ask(&self.cluster.client).await?;
        let mut facts = vec![(
            "name servers".to_owned(),
            self.cluster.client.config.name_server_list(),
        )];
        facts.extend(settings.facts());
        Ok(BackendInfo {
            name: NAME,
            server: settings.server(),
            facts,
        })
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let groups = self.cluster.groups.all().await?;
        let names: BTreeSet<Namespace> = groups.into_iter().map(|group| group.namespace).collect();
        Ok(names.into_iter().collect())
    }

    async fn producer(&self, scope: &Scope) -> Result<Arc<dyn Producer>> {
        self.open()?;
        let (cluster, scope) = (self.cluster.clone(), scope.clone());
        Ok(Arc::new(RocketmqProducer::new(cluster, scope)))
    }

    async fn consumer(&self, scope: &Scope) -> Result<Arc<dyn Consumer>> {
        self.open()?;
        let (pop, hub) = (self.pop.clone(), self.hub.clone());
        Ok(Arc::new(RocketmqConsumer::new(pop, hub, scope)))
    }

    async fn close(&self) -> Result<()> {
        self.pop.close().await;
        self.cluster.client.close().await;
        Ok(())
    }
}
