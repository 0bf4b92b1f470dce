//! The cases, by what they are about.

mod apply;
mod builtin;
mod custom;
mod lists;
mod objects;
mod ownership;
mod watches;

use std::pin::Pin;

use anyhow::Result;
use serde_json::{Value, json};

use crate::Context;

/// Runs a case in its context.
pub type Run = fn(Context) -> Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// One case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What is true when it passes.
    pub name: &'static str,
    /// Runs it.
    pub run: Run,
}

/// Lists functions of a module as cases.
macro_rules! cases {
    ($($module:ident: $($name:ident),+ $(,)?;)+) => {
        &[$($(Case {
            name: stringify!($name),
            run: |context| Box::pin($module::$name(context)),
        }),+),+]
    };
}

/// All cases.
pub const fn all() -> &'static [Case] {
    cases! {
        objects:
            a_new_object_gets_its_identity,
            failures_read_as_kubernetes_writes_them,
            a_stale_update_is_a_conflict,
            a_write_that_changes_nothing_keeps_the_version,
            the_generation_counts_changes_of_the_desired_state,
            generated_names_have_a_random_suffix,
            dry_runs_change_nothing,
            unknown_fields_are_refused_warned_of_or_dropped,
            merge_strategic_and_json_patches_work,
            deletions_check_their_preconditions,
            status_and_scale_write_their_part_only;
        lists:
            pages_come_from_one_snapshot,
            only_the_list_says_of_what_kind_built_in_items_are,
            selectors_choose,
            list_options_are_checked,
            tables_have_the_columns_of_kubectl,
            metadata_can_be_asked_for_alone;
        watches:
            a_watch_sees_every_change_in_order,
            a_watch_list_ends_its_beginning_with_a_bookmark,
            watch_options_are_checked,
            a_selector_turns_changes_into_additions_and_deletions;
        apply:
            applying_twice_changes_nothing,
            an_applied_version_is_that_of_what_stands_if_anything_does,
            conflicts_name_manager_and_field,
            what_is_applied_no_more_is_removed,
            lists_with_keys_are_merged_by_item,
            an_update_takes_ownership_of_what_it_changes,
            applied_status_belongs_to_its_subresource,
            kubectl_goes_on_from_what_it_applied_before;
        custom:
            a_definition_is_established_and_served,
            schemas_fill_in_drop_and_check,
            rules_of_definitions_are_enforced,
            a_rule_that_does_not_compile_is_a_warning,
            columns_and_scale_of_definitions_work;
        ownership:
            finalizers_hold_objects_back,
            dependents_are_collected_in_the_background,
            an_owner_waits_for_its_dependents_in_the_foreground,
            orphans_stay,
            a_namespace_goes_with_its_content;
        builtin:
            deployments_have_their_defaults,
            services_get_addresses_and_keep_them,
            jobs_get_a_selector_of_their_own,
            secrets_fold_text_into_data,
            selectors_of_workloads_never_change,
            invalid_workloads_are_refused,
            events_of_both_groups_are_one,
            leases_are_renewed,
            reviews_answer;
    }
}

/// A Deployment with one container.
fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "main", "image": "registry/main:1" }] },
            },
        },
    })
}

/// A ConfigMap with labels.
fn config_map(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "labels": labels },
        "data": { "key": "value" },
    })
}
