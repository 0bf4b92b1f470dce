//! `KIND/NAME` on the command line: the kind that is meant, and the binding of that template. It
//! need not be an object of the hub: what stands in a FederatedManifest has a binding too.

use anyhow::{Context as _, Result, bail};
use hanse_api::{ResourceBinding, SYSTEM_NAMESPACE};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
    core::discovery::Scope,
    discovery::Discovery,
};

use crate::{
    args::Global,
    connect::{Connection, connect, within},
    template::short,
};

/// A template that was named.
pub(crate) struct Named {
    /// Its kind, as the API writes it if it serves it.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
    /// The namespace that is meant.
    pub(crate) namespace: String,
    /// Whether the hub's API knows the kind, and keeps it out of namespaces.
    is_wide: bool,
    /// Where it is if it is an object of the hub; absent when the hub does not serve its kind.
    api: Option<Api<DynamicObject>>,
    client: Client,
}

impl Named {
    /// Reads `KIND/NAME`.
    ///
    /// # Errors
    /// It is something else, or the API cannot be reached.
    pub(crate) async fn read(global: &Global, text: &str) -> Result<Self> {
        let Some((kind, name)) = text.split_once('/') else {
            bail!("`{text}` is not KIND/NAME; write for instance deployment/frontend");
        };
        let Connection { client, namespace } = connect(global).await?;
        let discovery = Discovery::new(client.clone()).run_aggregated();
        let discovery = within("asking for the kinds", discovery).await?;
        let wanted = kind.to_lowercase();
        let mut resources =
            discovery.groups().flat_map(kube::discovery::ApiGroup::recommended_resources);
        let found = resources.find(|(resource, _)| {
            resource.kind.to_lowercase() == wanted
                || resource.plural == wanted
                || short(&wanted) == Some(resource.kind.as_str())
        });
        let is_wide = found.as_ref().is_some_and(|(_, can)| can.scope == Scope::Cluster);
        let api = found.as_ref().map(|(resource, _)| {
            if is_wide {
                Api::all_with(client.clone(), resource)
            } else {
                Api::namespaced_with(client.clone(), &namespace, resource)
            }
        });
        let kind = found.map_or_else(|| kind.to_owned(), |(resource, _)| resource.kind);
        Ok(Self { kind, name: name.to_owned(), namespace, is_wide, api, client })
    }

    /// A client of the federation's API.
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// The binding, if it is placed.
    ///
    /// # Errors
    /// The API refuses or does not answer.
    pub(crate) async fn binding(&self) -> Result<Option<ResourceBinding>> {
        let home = if self.is_wide { SYSTEM_NAMESPACE } else { &self.namespace };
        let api: Api<ResourceBinding> = Api::namespaced(self.client.clone(), home);
        let all = within("listing bindings", api.list(&ListParams::default())).await?;
        Ok(all.items.into_iter().find(|binding| {
            let template = &binding.spec.template;
            template.kind.eq_ignore_ascii_case(&self.kind) && template.name == self.name
        }))
    }

    /// The object on the hub.
    ///
    /// # Errors
    /// It is not there, or the API cannot be reached.
    pub(crate) async fn object(&self) -> Result<DynamicObject> {
        let Self { kind, name, namespace, .. } = self;
        let api = self.api.as_ref();
        let api = api.with_context(|| format!("the federation serves no kind `{kind}`"))?;
        let object = within("reading the template", api.get_opt(name)).await?;
        object.with_context(|| format!("no {kind} `{name}` in namespace `{namespace}`"))
    }
}
