//! `hanse explain`: why a template is where it is, as text, JSON or a picture. The hub explains;
//! here it is drawn. Must not decide anything itself.

mod advice;
mod svg;
mod text;

use anyhow::{Result, bail};
use hanse_hub::explain::Explained;

use kube::ResourceExt as _;

use crate::{
    args::{Global, Output},
    named::Named,
    output, questions, template,
};

pub(crate) use text::write as words;

/// Prints why a template is where it is; of a FederatedManifest, each of its objects. Where the
/// hub cannot be asked, what it wrote is all there is, and that is said.
///
/// # Errors
/// When there is no such template, or the API cannot be reached.
pub(crate) async fn run(global: &Global, name: &str) -> Result<()> {
    let named = Named::read(global, name).await?;
    if named.kind == "FederatedManifest" {
        return manifest(global, &named).await;
    }
    let found = template::find(&named).await?;
    let Some(binding) = found.binding() else {
        return template::written(global, name, &found);
    };
    let asked = questions::ask::<Explained>(named.client(), &question(&binding), None).await;
    match asked {
        Ok(explained) => show(global.output, &[explained]),
        Err(error) if global.output == Output::Svg => Err(error),
        Err(error) => {
            output::say(&format!(
                "the hub cannot be asked ({error:#}); this is what it wrote with its decision:"
            ));
            template::written(global, name, &found)
        }
    }
}

/// Each object of a FederatedManifest that is placed.
async fn manifest(global: &Global, named: &Named) -> Result<()> {
    let bindings = named.bindings().await?;
    let mut all = Vec::new();
    for binding in bindings.iter().filter(|one| one.spec.template.manifest == named.name) {
        let key = format!("{}/{}", named.namespace, binding.name_any());
        all.push(questions::ask::<Explained>(named.client(), &question(&key), None).await?);
    }
    if all.is_empty() {
        bail!(named.nothing_placed().await?);
    }
    show(global.output, &all)
}

fn question(binding: &str) -> String {
    format!("/explain?binding={binding}")
}

/// Prints explanations in the form that was asked for.
///
/// # Errors
/// When there is not exactly one to draw.
pub(crate) fn show(form: Output, all: &[Explained]) -> Result<()> {
    let names = || all.iter().map(|one| one.template.clone()).collect();
    match (form, all) {
        (Output::Svg, [one]) => {
            output::raw(&svg::draw(one));
            Ok(())
        }
        (Output::Svg, all) => bail!(
            "a picture is of one workload, and there are {}: {}",
            all.len(),
            all.iter().map(|one| one.template.as_str()).collect::<Vec<_>>().join(", ")
        ),
        (_, [one]) => output::print(form, one, names, |wide| text::write(one, wide)),
        (_, all) => output::print(form, &all, names, |wide| {
            all.iter().map(|one| text::write(one, wide)).collect::<Vec<_>>().join("\n\n")
        }),
    }
}

#[cfg(test)]
mod tests;
