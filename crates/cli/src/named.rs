//! `KIND/NAME` on the command line: the kind that is meant, and the binding of that template. It
//! need not be an object of the hub: what stands in a FederatedManifest has a binding too.

use anyhow::{Context as _, Result, bail};
use hanse_api::{
    FederatedManifest, ResourceBinding, SYSTEM_NAMESPACE, TemplateRef,
    conditions::{is_true, policy::ACCEPTED},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams},
    core::discovery::Scope,
    discovery::Discovery,
};
use serde_json::{Value, json};

use crate::{
    args::Global,
    connect::{Connection, connect, within},
    status,
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
    /// Its kind as the hub serves it, if it does.
    resource: Option<ApiResource>,
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
        let resource = found.map(|(resource, _)| resource);
        let kind =
            resource.as_ref().map_or_else(|| kind.to_owned(), |resource| resource.kind.clone());
        Ok(Self { kind, name: name.to_owned(), namespace, is_wide, resource, client })
    }

    /// The same for an object that stands in a FederatedManifest.
    pub(crate) fn held(&self, template: &TemplateRef) -> Self {
        let (kind, name) = (template.kind.clone(), template.name.clone());
        let (namespace, client) = (self.namespace.clone(), self.client.clone());
        Self { kind, name, namespace, is_wide: false, resource: None, client }
    }

    /// Why nothing of a FederatedManifest is placed.
    ///
    /// # Errors
    /// It is not there, or the API cannot be reached.
    pub(crate) async fn nothing_placed(&self) -> Result<String> {
        let object = self.object().await?;
        let said = status::complaints(&object.data["status"]).join("; ");
        Ok(format!("nothing of FederatedManifest `{}` is placed: {said}", self.name))
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
        Ok(self.bindings().await?.into_iter().find(|binding| self.is_of(binding)))
    }

    /// All bindings beside its own, its own included.
    ///
    /// # Errors
    /// The API refuses or does not answer.
    pub(crate) async fn bindings(&self) -> Result<Vec<ResourceBinding>> {
        let home = if self.is_wide { SYSTEM_NAMESPACE } else { &self.namespace };
        let api: Api<ResourceBinding> = Api::namespaced(self.client.clone(), home);
        Ok(within("listing bindings", api.list(&ListParams::default())).await?.items)
    }

    /// Whether a binding is that of the template.
    pub(crate) fn is_of(&self, binding: &ResourceBinding) -> bool {
        let template = &binding.spec.template;
        template.kind.eq_ignore_ascii_case(&self.kind) && template.name == self.name
    }

    /// The template of a binding: an object of the hub, or one that stands in a FederatedManifest.
    ///
    /// # Errors
    /// It is in neither, or the API cannot be reached.
    pub(crate) async fn template(&self, of: &TemplateRef) -> Result<Value> {
        if of.manifest.is_empty() {
            return Ok(serde_json::to_value(self.object().await?)?);
        }
        let manifest = manifest_of(&self.client, of).await?;
        let same = |object: &&Value| names(object, &of.kind, &of.name);
        let mut object = manifest.spec.manifests.iter().find(same).cloned().with_context(|| {
            format!("FederatedManifest `{}` holds no {} `{}`", of.manifest, of.kind, of.name)
        })?;
        object["metadata"]["namespace"] = json!(of.namespace);
        object["metadata"]["uid"] = json!(of.uid);
        Ok(object)
    }

    /// What no policy has placed: an object of the hub.
    ///
    /// # Errors
    /// There is none; where it stands in a FederatedManifest, why it is not placed.
    pub(crate) async fn unplaced(&self) -> Result<DynamicObject> {
        let missing = match self.object().await {
            Ok(object) => return Ok(object),
            Err(missing) => missing,
        };
        let api: Api<FederatedManifest> = Api::namespaced(self.client.clone(), &self.namespace);
        let all = within("listing FederatedManifests", api.list(&ListParams::default())).await?;
        let holds = |one: &&FederatedManifest| {
            one.spec.manifests.iter().any(|object| names(object, &self.kind, &self.name))
        };
        let Some(holder) = all.iter().find(holds) else {
            return Err(missing);
        };
        let told = holder.status.as_ref().map(|status| status.conditions.as_slice());
        let told = told.unwrap_or_default();
        let refusal = told.iter().find(|one| one.type_ == ACCEPTED && !is_true(told, ACCEPTED));
        let why = refusal.map_or_else(
            || "it is not placed yet".to_owned(),
            |refusal| format!("it is refused: {}: {}", refusal.reason, refusal.message),
        );
        bail!(
            "{}/{} stands in FederatedManifest `{}`; {why}",
            self.kind,
            self.name,
            holder.name_any()
        );
    }

    /// The object on the hub.
    ///
    /// # Errors
    /// It is not there, or the API cannot be reached.
    pub(crate) async fn object(&self) -> Result<DynamicObject> {
        let Self { kind, name, namespace, .. } = self;
        let resource = self.resource.as_ref();
        let resource =
            resource.with_context(|| format!("the federation serves no kind `{kind}`"))?;
        let api: Api<DynamicObject> = if self.is_wide {
            Api::all_with(self.client.clone(), resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, resource)
        };
        let object = within("reading the template", api.get_opt(name)).await?;
        match object {
            Some(object) => Ok(object),
            None if self.is_wide => bail!("no {kind} `{name}`"),
            None => {
                bail!("no {kind} `{name}` in namespace `{namespace}`{}", self.elsewhere().await)
            }
        }
    }

    /// Where else there is one of that name, as far as this user may look.
    async fn elsewhere(&self) -> String {
        let Some(resource) = &self.resource else {
            return String::new();
        };
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), resource);
        let named = ListParams::default().fields(&format!("metadata.name={}", self.name));
        let found = within("looking elsewhere", api.list(&named)).await;
        let homes = found.map(|list| list.items).unwrap_or_default();
        match homes.first().and_then(DynamicObject::namespace) {
            Some(home) => format!("; there is one in `{home}`: write -n {home}"),
            None => "; name another with -n".to_owned(),
        }
    }
}

/// The FederatedManifest in which a template stands.
///
/// # Errors
/// It is gone, or the API cannot be reached.
pub(crate) async fn manifest_of(client: &Client, of: &TemplateRef) -> Result<FederatedManifest> {
    let api: Api<FederatedManifest> = Api::namespaced(client.clone(), &of.namespace);
    within("reading the FederatedManifest", api.get(&of.manifest)).await
}

fn names(object: &Value, kind: &str, name: &str) -> bool {
    let is_kind = object["kind"].as_str().is_some_and(|own| own.eq_ignore_ascii_case(kind));
    is_kind && object["metadata"]["name"] == name
}
