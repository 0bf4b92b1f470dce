//! `hanse explain`: why a template is where it is, as text, JSON or a picture. The hub explains;
//! here it is drawn. Must not decide anything itself.

mod advice;
mod svg;
mod text;

use anyhow::{Result, bail};
use hanse_hub::explain::Explained;

use crate::{
    args::{Global, Output},
    connect::connect,
    output, questions, template,
};

pub(crate) use text::write as words;

/// Prints why a template is where it is. Where the hub cannot be asked, what it wrote is all there
/// is, and that is said.
///
/// # Errors
/// When there is no such template, or the API cannot be reached.
pub(crate) async fn run(global: &Global, name: &str) -> Result<()> {
    let connection = connect(global).await?;
    let found = template::find(&connection, name).await?;
    let Some(binding) = found.binding() else {
        return template::written(global, name, &found);
    };
    let asked = questions::ask::<Explained>(&connection.client, &question(&binding), None).await;
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
