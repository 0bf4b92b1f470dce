//! Bodies as clients encode them, by hand.

use serde_json::json;

use super::*;

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    bytes.extend_from_slice(content);
    bytes
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), field(1, &meta), field(2, raw)].concat()
}

#[test]
fn a_config_map_reads_with_its_map_and_without_unset_fields() {
    let meta = [field(1, b"settings"), field(2, b""), field(8, b"")].concat();
    let entry = [field(1, b"colour"), field(2, b"blue")].concat();
    let raw = [field(1, &meta), field(2, &entry)].concat();
    let read = decode(&body("v1", "ConfigMap", &raw), Some("io.k8s.api.core.v1.ConfigMap"));
    assert_eq!(
        read.unwrap(),
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings"},
            "data": {"colour": "blue"},
        })
    );
}

#[test]
fn zero_replicas_are_kept_because_the_field_is_a_pointer() {
    // spec (2) { replicas (1) = 0, paused (7) = false }
    let raw = field(2, &[1 << 3, 0, 7 << 3, 0]);
    let read = decode(&body("apps/v1", "Deployment", &raw), Some("io.k8s.api.apps.v1.Deployment"));
    assert_eq!(read.unwrap()["spec"], json!({"replicas": 0}));
}

#[test]
fn damaged_bodies_are_refused() {
    let definition = Some("io.k8s.api.core.v1.ConfigMap");
    assert_eq!(decode(b"{}", definition), Err(Malformed::Prefix));
    assert_eq!(decode(b"k8s\0\x0a\xff", definition), Err(Malformed::Short));
    assert_eq!(decode(b"k8s\0\x0b", definition), Err(Malformed::WireType(3)));
}
