//! How a hub reaches simulated members: each over its own link, with the link's distance and
//! faults. The one place of it; callers wrap what they add.

use hanse_member::{ConnectError, Connecting, Connection, Connector, Limits, bounded_client};

use crate::world::World;

/// Connects the members of a world, with every call bounded. What the MemberCluster says of its
/// connection does not matter here: a member of the world is simulated.
#[derive(Clone, Debug)]
pub struct SimulatedConnector {
    /// The members and their links.
    pub world: World,
}

impl Connector for SimulatedConnector {
    fn connect<'a>(&'a self, name: &'a str, _: &'a Connection) -> Connecting<'a> {
        Box::pin(async move {
            let service = self.world.hub_service(name).ok_or_else(|| {
                ConnectError::Unsupported(format!("the topology has no cluster `{name}`"))
            })?;
            Ok(bounded_client(service, Limits::default(), "default"))
        })
    }
}
