//! Folds of each kind, as the waiting tools read them.

use super::*;

const NOW: &str = "2026-01-01T00:00:00Z";

#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
fn template(api: &str, kind: &str, generation: i64, status: Value) -> Value {
    json!({"apiVersion": api, "kind": kind, "metadata": {"name": "web", "generation": generation},
        "spec": {"replicas": 6}, "status": status})
}

fn state(status: &Value, assigned: u32) -> MemberState<'_> {
    MemberState { status, generation: 1, assigned, current: true }
}

fn folded(object: &Value, members: &[MemberState<'_>]) -> Folded {
    fold(Template { object, decided: true, now: NOW }, members)
}

fn running(replicas: u32) -> Value {
    json!({"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas,
        "readyReplicas": replicas, "availableReplicas": replicas})
}

fn condition<'a>(folded: &'a Folded, type_: &str) -> &'a Value {
    conditions::find(folded.status.as_ref().unwrap(), type_).unwrap()
}

#[test]
fn a_deployment_is_the_sum_of_its_members() {
    let web = template("apps/v1", "Deployment", 4, Value::Null);
    let (a, b) = (running(4), running(2));
    let all = folded(&web, &[state(&a, 4), state(&b, 2)]);
    let status = all.status.as_ref().unwrap();
    for field in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
        assert_eq!(status[field], 6, "{field}");
    }
    assert_eq!(status["observedGeneration"], 4);
    assert_eq!(condition(&all, "Available")["status"], "True");
    assert_eq!(condition(&all, "Progressing")["reason"], "NewReplicaSetAvailable");
    assert_eq!((all.ready, all.updated, all.available), (6, 6, true));
}

#[test]
fn the_generation_counts_as_observed_only_when_every_member_has_the_newest() {
    let web = template("apps/v1", "Deployment", 4, json!({"observedGeneration": 3}));
    let (a, b) = (running(4), running(2));
    let mut late = state(&b, 2);
    late.current = false;
    let status = folded(&web, &[state(&a, 4), late]).status.unwrap();
    assert_eq!(status["observedGeneration"], 3);
    assert_eq!(status["updatedReplicas"], 4);
    let mut unseen = state(&b, 2);
    unseen.generation = 2;
    let status = folded(&web, &[state(&a, 4), unseen]).status.unwrap();
    assert_eq!(status["observedGeneration"], 3);
    let undecided = Template { object: &web, decided: false, now: NOW };
    let status = fold(undecided, &[state(&a, 4)]).status.unwrap();
    assert_eq!(status["observedGeneration"], 3);
}

#[test]
fn a_deployment_with_unplaced_replicas_is_not_available() {
    let web = template("apps/v1", "Deployment", 1, Value::Null);
    let a = running(4);
    let all = folded(&web, &[state(&a, 4)]);
    assert_eq!(condition(&all, "Available")["status"], "False");
    let none = folded(&web, &[]);
    assert!(!none.available);
    assert_eq!(none.status.unwrap()["observedGeneration"], 0);
}

#[test]
fn the_time_of_a_condition_changes_only_with_its_status() {
    let a = running(6);
    let first = template("apps/v1", "Deployment", 1, Value::Null);
    let before = folded(&first, &[state(&a, 6)]);
    let again = template("apps/v1", "Deployment", 1, before.status.clone().unwrap());
    let later = Template { object: &again, decided: true, now: "2027-01-01T00:00:00Z" };
    assert_eq!(fold(later, &[state(&a, 6)]), before);
}

#[test]
fn a_member_that_is_stuck_makes_the_whole_stuck() {
    let web = template("apps/v1", "Deployment", 1, Value::Null);
    let mut stuck = running(1);
    stuck["conditions"] = json!([{"type": "Progressing", "status": "False",
        "reason": "ProgressDeadlineExceeded"}]);
    let all = folded(&web, &[state(&stuck, 6)]);
    assert_eq!(condition(&all, "Progressing")["reason"], "ProgressDeadlineExceeded");
    assert_eq!(member_health(Kind::Deployment, state(&stuck, 6)), Health::Unhealthy);
}

#[test]
fn health_of_a_copy_follows_its_counts() {
    let a = running(2);
    assert_eq!(member_health(Kind::Deployment, state(&a, 2)), Health::Healthy);
    assert_eq!(member_health(Kind::Deployment, state(&a, 3)), Health::Progressing);
    assert_eq!(member_health(Kind::Deployment, state(&Value::Null, 0)), Health::Progressing);
    assert_eq!(member_health(Kind::Other, state(&Value::Null, 0)), Health::Healthy);
}

#[test]
fn a_stateful_set_keeps_the_revisions_of_its_member() {
    let db = template("apps/v1", "StatefulSet", 2, Value::Null);
    let mut status = running(6);
    status["currentRevision"] = json!("r1");
    status["updateRevision"] = json!("r2");
    let all = folded(&db, &[state(&status, 6)]);
    let fields = all.status.unwrap();
    assert_eq!(
        (&fields["currentRevision"], &fields["updateRevision"]),
        (&json!("r1"), &json!("r2"))
    );
    assert_eq!(fields["observedGeneration"], 2);
    assert_eq!(member_health(Kind::StatefulSet, state(&status, 6)), Health::Progressing);
}

#[test]
fn a_daemon_set_is_counted_by_nodes() {
    let agent = template("apps/v1", "DaemonSet", 1, Value::Null);
    let status = json!({"observedGeneration": 1, "desiredNumberScheduled": 3,
        "currentNumberScheduled": 3, "numberReady": 2, "numberAvailable": 2,
        "numberUnavailable": 1, "updatedNumberScheduled": 3});
    let all = folded(&agent, &[state(&status, 0), state(&status, 0)]);
    assert_eq!(all.status.unwrap()["desiredNumberScheduled"], 6);
    assert!(!all.available);
}

#[test]
fn a_replica_set_is_the_sum_of_its_members() {
    let set = template("apps/v1", "ReplicaSet", 1, Value::Null);
    let a = running(3);
    let all = folded(&set, &[state(&a, 3), state(&a, 3)]);
    assert_eq!(all.status.unwrap()["readyReplicas"], 6);
    assert!(all.available);
}

#[test]
fn a_job_completes_in_two_steps_when_all_its_members_have() {
    let done = json!({"succeeded": 2, "startTime": "2026-01-01T00:00:00Z",
        "completionTime": "2026-01-01T00:01:00Z",
        "conditions": [{"type": "Complete", "status": "True"}]});
    let open = json!({"active": 1});
    let job = template("batch/v1", "Job", 1, Value::Null);
    let half = folded(&job, &[state(&done, 0), state(&open, 0)]);
    assert!(!half.finished && half.status.unwrap().get("conditions").is_none());
    let first = folded(&job, &[state(&done, 0)]);
    let status = first.status.unwrap();
    assert!(first.finished);
    assert!(conditions::is_true(&status, "SuccessCriteriaMet"));
    assert!(!conditions::is_true(&status, "Complete"));
    let again = template("batch/v1", "Job", 1, status);
    let second = folded(&again, &[state(&done, 0)]).status.unwrap();
    assert!(conditions::is_true(&second, "Complete"));
    assert_eq!(second["completionTime"], "2026-01-01T00:01:00Z");
}

#[test]
fn a_job_that_failed_says_its_target_first() {
    let failed = json!({"failed": 1, "startTime": "2026-01-01T00:00:00Z", "conditions": [
        {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]});
    let job = template("batch/v1", "Job", 1, Value::Null);
    let status = folded(&job, &[state(&failed, 0)]).status.unwrap();
    assert!(conditions::is_true(&status, "FailureTarget"));
    assert!(!conditions::is_true(&status, "Failed"));
    let again = template("batch/v1", "Job", 1, status);
    assert!(conditions::is_true(&folded(&again, &[state(&failed, 0)]).status.unwrap(), "Failed"));
}

/// Folds one state of the members after the other, as far as API servers take what comes of it.
fn told(history: &[&[&Value]]) -> Result<Value, String> {
    let mut status = Value::Null;
    for states in history {
        let job = template("batch/v1", "Job", 1, status.clone());
        let members: Vec<MemberState<'_>> = states.iter().map(|one| state(one, 0)).collect();
        let patch = folded(&job, &members).status.unwrap();
        status = job_rules::patched(&status, &patch)?;
    }
    Ok(status)
}

#[test]
fn api_servers_take_every_step_of_a_job_to_its_end() {
    let begun = json!({"startTime": "2026-01-01T00:00:00Z", "active": 1});
    let runs = json!({"startTime": "2026-01-01T00:00:00Z", "active": 1, "ready": 1,
        "uncountedTerminatedPods": {}});
    let ends = json!({"startTime": "2026-01-01T00:00:00Z", "terminating": 1});
    let done = json!({"startTime": "2026-01-01T00:00:00Z", "succeeded": 1,
        "completionTime": "2026-01-01T00:01:00Z", "conditions": [
            {"type": "SuccessCriteriaMet", "status": "True"},
            {"type": "Complete", "status": "True"}]});
    let whole: &[&[&Value]] = &[&[&begun], &[&runs], &[&ends], &[&done], &[&done]];
    let status = told(whole).unwrap();
    assert!(conditions::is_true(&status, "Complete"));
    assert_eq!((&status["ready"], &status["succeeded"]), (&json!(0), &json!(1)));
    assert_eq!(told(&[whole, whole].concat()).unwrap(), status, "it has ended for good");
}

#[test]
fn api_servers_take_what_is_told_of_a_job_whose_members_come_and_go() {
    let first = json!({"startTime": "2026-01-01T00:00:05Z", "active": 1, "ready": 1,
        "succeeded": 3, "failed": 2});
    let other = json!({"startTime": "2026-01-01T00:00:01Z", "active": 2, "succeeded": 1});
    let lost: &[&[&Value]] = &[&[&first], &[&first, &other], &[&other], &[], &[&first, &other]];
    let status = told(lost).unwrap();
    assert_eq!(status["startTime"], "2026-01-01T00:00:05Z");
    assert_eq!((&status["succeeded"], &status["failed"]), (&json!(4), &json!(2)));
    let failed = json!({"startTime": "2026-01-01T00:00:05Z", "failed": 3,
        "conditions": [{"type": "Failed", "status": "True"}]});
    let early: &[&[&Value]] = &[&[&first, &other], &[&failed, &other], &[&failed, &other]];
    assert!(!conditions::is_true(&told(early).unwrap(), "Failed"), "pods of it still run");
    let quiet = json!({"startTime": "2026-01-01T00:00:01Z", "succeeded": 3});
    let end: &[&[&Value]] = &[&[&failed, &quiet], &[&failed, &quiet], &[&quiet], &[&failed]];
    assert!(conditions::is_true(&told(&[early, end].concat()).unwrap(), "Failed"));
}

#[test]
fn a_service_shows_every_load_balancer_once() {
    let one = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
    let two = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}]}});
    let web = template("v1", "Service", 1, Value::Null);
    let all = folded(&web, &[state(&one, 0), state(&two, 0)]);
    let list = all.status.unwrap()["loadBalancer"]["ingress"].as_array().unwrap().len();
    assert_eq!((list, all.available), (2, true));
}
