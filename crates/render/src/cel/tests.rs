//! The language, its budget, and hostile expressions.

use kube_cel::cel;
use serde_json::json;

use super::*;

fn object() -> Value {
    json!({"spec": {"replicas": 3, "paused": null, "ratio": 0.5, "names": ["a", "b"]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Odd"}]}})
}

fn evaluate(source: &str) -> Result<Value, CelError> {
    let program = Program::compile(source, &["object"])?;
    let names = [("object", Datum::from_json(&object())?)];
    program.evaluate(&names, &mut Budget::OBJECT.clone())?.to_json()
}

#[test]
fn expressions_have_the_values_that_the_language_gives_them() {
    for (source, expected) in [
        ("object.spec.replicas == 3", json!(true)),
        ("object.spec.replicas + 1", json!(4)),
        ("object.spec.?missing.orValue(7)", json!(7)),
        ("object.?missing.deeper[?'x'].hasValue()", json!(false)),
        ("object.spec.paused == null", json!(true)),
        ("object.spec.ratio < 1", json!(true)),
        ("has(object.spec.replicas) && !has(object.spec.other)", json!(true)),
        ("object.spec.other == 1 || true", json!(true)),
        ("false && object.spec.other == 1", json!(false)),
        (
            "object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')",
            json!(true),
        ),
        ("object.status.conditions.filter(c, has(c.status)).map(c, c.type)", json!(["Ready"])),
        ("object.status.conditions.map(c, has(c.status), c.type)", json!(["Ready"])),
        ("object.status.conditions.exists_one(c, c.type == 'Odd')", json!(true)),
        ("object.status.conditions.all(c, c.type.size() > 2)", json!(true)),
        ("object.spec.names.map(n, n + '!').join(',')", json!("a!,b!")),
        ("object.spec.map(k, k).size()", json!(4)),
        ("'a' in object.spec.names && 'replicas' in object.spec", json!(true)),
        ("{'a': 1, ?'b': object.?b, ?'c': object.spec.?replicas}", json!({"a": 1, "c": 3})),
        ("math.greatest(1, object.spec.replicas, 2)", json!(3)),
        ("[3, 1, 2].min() + [1, 2].sum()", json!(4)),
        ("'Web-1'.lowerAscii().replace('-', '.').split('.')", json!(["web", "1"])),
        ("'v1.2'.matches('^v[0-9]+[.]')", json!(true)),
        ("int('12') + int(3.9)", json!(15)),
        ("string(object.spec.replicas) + string(true)", json!("3true")),
        ("'grüße'.size() == 5 && 'grüße'.substring(2, 4) == 'üß'", json!(true)),
        ("['a', 'b', 'a'].distinct()", json!(["a", "b"])),
        ("-object.spec.replicas % 2", json!(-1)),
    ] {
        assert_eq!(evaluate(source), Ok(expected), "{source}");
    }
}

#[test]
fn expressions_without_input_agree_with_the_evaluator_of_the_parser_s_authors() {
    for source in [
        "1 + 2 * 3 - 4 / 2",
        "7 % 4 == 3",
        "1.5 * 2.0 < 4.0",
        "'a' + 'b' == 'ab'",
        "[1, 2] + [3] == [1, 2, 3]",
        "2 in [1, 2, 3]",
        "'k' in {'k': 1}",
        "{'a': {'b': [10, 20]}}.a.b[1]",
        "[1, 2, 3].map(x, x * x).filter(x, x > 1)",
        "[[1, 2], [3]].map(l, l.map(x, x + 1))",
        "[1, 2, 3].all(x, x > 0) && [1, 2].exists(x, x == 2) && [1, 2].exists_one(x, x == 1)",
        "true ? 'yes' : 'no'",
        "!(1 > 2) || false",
        "size('abc') == 3 && size([1]) == 1",
        "'abc'.startsWith('a') && 'abc'.endsWith('c') && 'abc'.contains('b')",
        "has({'a': 1}.a) && !has({'a': 1}.b)",
        "'3' == string(3)",
        "1 < 2 && 2 <= 2 && 'a' < 'b' && 2 >= 1 && 3 > 2 && 1 != 2",
    ] {
        let theirs = cel::Program::compile(source).unwrap();
        let theirs = theirs.execute(&cel::Context::default()).unwrap();
        assert_eq!(evaluate(source).unwrap(), plain(&theirs), "{source}");
    }
}

fn plain(value: &cel::Value) -> Value {
    match value {
        cel::Value::Bool(value) => json!(value),
        cel::Value::Int(value) => json!(value),
        cel::Value::Float(value) => json!(value),
        cel::Value::String(text) => json!(text.as_str()),
        cel::Value::List(items) => items.iter().map(plain).collect(),
        other => panic!("{other:?} has no plain form here"),
    }
}

#[test]
fn a_mistake_is_told_with_what_to_write() {
    for (source, expected) in [
        ("object.spec.", "cannot be read: line 1"),
        ("objekt.spec", "there is no objekt here: this expression knows object"),
        ("object.frob()", "there is no function frob"),
        ("math.sqrt(4)", "there is no function math.sqrt"),
        ("object.spec.other", "there is no other: write .?other and orValue()"),
        ("object.spec.replicas + 'a'", "+ does not take a whole number and a string"),
        ("object.spec.replicas ? 1 : 2", "a condition does not take a whole number"),
        ("9223372036854775807 + 1", "a sum is beyond the range"),
        ("1 / 0", "a quotient is beyond the range"),
        ("[1][3]", "there is no [3]"),
        ("1u", "unsigned numbers are not served"),
        ("b'x'", "raw strings and bytes are not served"),
        (r"'a\q'", "escapes other than"),
        ("'a", "a string that is not closed"),
        ("1 // one", "comments are not served"),
        ("'''a'''", "triple quotes"),
        ("(1]", "a ] that closes nothing"),
        ("Pod{name: 'x'}", "messages are not served"),
        ("'x'.matches('(')", "cannot be read: the pattern"),
    ] {
        let error = evaluate(source).unwrap_err().to_string();
        assert!(error.contains(expected), "{source}: {error}");
    }
}

#[test]
fn a_name_of_an_inner_loop_does_not_outlive_its_error() {
    let source = "[{'ok': true, 'l': [{}]}].exists(x, x.l.exists(x, x.bad) || x.ok)";
    assert_eq!(evaluate(source), Ok(json!(true)));
}

/// Text of `count` times `part`, between two others.
fn repeated(before: &str, part: &str, count: usize, after: &str) -> String {
    format!("{before}{}{after}", part.repeat(count))
}

#[test]
fn an_expression_that_nests_too_deep_is_refused_before_it_is_read() {
    for source in [
        repeated("", "(", 2000, ""),
        repeated("", "(", 1000, "1") + &")".repeat(1000),
        repeated("", "[", 1000, "1") + &"]".repeat(1000),
        repeated("", "{'a':", 400, "1") + &"}".repeat(400),
        repeated("", "-", 4000, "1"),
        repeated("1", "+1", 2000, ""),
        repeated("object", ".a", 2000, ""),
        repeated("1", "==1", 1300, ""),
        repeated("'a'", "+','", 1000, ""),
        repeated(r"'\q", "(", 1000, "'"),
        repeated("r'\\'+'", "(", 1000, "'"),
        repeated("')'+", "(", 1000, ""),
        repeated("", "true?1:", 500, "1"),
        repeated("", "true?", 380, "1") + &":1".repeat(380),
        repeated("object", "[0]", 1000, ""),
        repeated("size", "(size", 600, ""),
        repeated("", "a", 5000, ""),
        repeated("[1]", ".map(x,[1]", 300, "") + &")".repeat(300),
        repeated("[1].all(x,", "[1].all(x,", 40, "true") + &")".repeat(41),
    ] {
        let shown: String = source.chars().take(24).collect();
        assert!(Program::compile(&source, &["object"]).is_err(), "{shown}");
    }
}

#[test]
fn an_expression_that_explodes_runs_out_of_its_budget() {
    let ten = "[1,2,3,4,5,6,7,8,9,10]";
    let many = "(l+l+l+l+l+l+l+l+l+l)";
    for source in [
        repeated("['aaaaaaaaaaaaaaaa']", ".map(s,s+s)", 30, ".size()"),
        repeated("[[1,2]]", ".map(l,l+l)", 30, ".size()"),
        repeated("[[1,2]]", ".map(l,[l,l])", 30, ""),
        repeated("[[1,2]]", ".map(l,[l,l])", 30, " == ")
            + &repeated("[[1,2]]", ".map(l,[l,l])", 30, ""),
        format!("[{ten}].map(l,{many}).map(l,{many}).map(l,l.all(a,l.all(b,a+b>0)))"),
        format!("[{ten}].map(l,{many}).map(l,{many}).map(l,l.map(a,l.map(b,a)))"),
        format!(
            "[{ten}].map(l,{many}).map(l,l.map(a,string(a))).map(l,l.join('{}'))",
            "x".repeat(2000)
        ) + &".map(s,s.replace('x',s))".repeat(2),
        repeated("['aaaaaaaa']", ".map(s,s.replace('',s))", 8, ""),
        repeated("['aaaaaaaa']", ".map(s,s.replace('a',s))", 8, ""),
        format!(
            "[{ten}].map(l,{many}).map(l,{many}).map(l,l.map(x,'aaaaaaaa'.matches('(a|a)*b'+string(x))))"
        ),
        repeated("[[1]]", ".map(l,l+l)", 12, ".map(l,l.map(x,l).distinct())"),
    ] {
        let error = evaluate(&source).map(|_| ()).unwrap_err();
        assert!(error.is_final(), "{error}: {source}");
    }
}

#[test]
fn a_pattern_cannot_grow_beyond_its_bound() {
    for pattern in ["(a{1000}){1000}", "((((((((((a{9}){9}){9}){9}){9}){9}){9}){9}){9}){9}"] {
        let error = evaluate(&format!("'a'.matches('{pattern}')")).unwrap_err();
        assert!(error.to_string().contains("the pattern"), "{error}");
    }
}

#[test]
fn an_error_of_the_budget_is_not_outweighed() {
    let explodes = repeated("['aaaaaaaaaaaaaaaa']", ".map(s,s+s)", 30, ".size() > 0");
    let error = evaluate(&format!("{explodes} || true")).unwrap_err();
    assert!(error.is_final());
}

#[test]
fn an_input_that_is_too_large_is_refused() {
    let large = Value::Array(vec![json!(1); 400_001]);
    assert_eq!(Datum::from_json(&large).unwrap_err(), CelError::Input(400_000));
}

proptest::proptest! {
    /// Whatever is written, an evaluation ends, with a value or with an error.
    #[test]
    fn any_text_ends_with_a_value_or_an_error(
        source in "(object|\\.spec|\\.\\?a|\\[|\\]|\\(|\\)|'a'|1|\\+|-|==|&&|\\|\\||!|\\?|:|,|\\.map\\(x,|\\.all\\(x,|x| in |\\{|\\}|has\\(|size\\(){1,24}"
    ) {
        drop(evaluate(&source));
    }

    /// The same expression has the same value each time.
    #[test]
    fn whole_numbers_follow_checked_arithmetic(a in proptest::num::i64::ANY, b in proptest::num::i64::ANY) {
        let a = a / 2 + 1;
        let b = b / 2 + 1;
        let shown = |n: i64| if n < 0 { format!("({n})") } else { n.to_string() };
        let (left, right) = (shown(a), shown(b));
        proptest::prop_assert_eq!(evaluate(&format!("{left} + {right}")).ok(), a.checked_add(b).map(|n| json!(n)));
        proptest::prop_assert_eq!(evaluate(&format!("{left} * {right}")).ok(), a.checked_mul(b).map(|n| json!(n)));
        proptest::prop_assert_eq!(evaluate(&format!("{left} < {right}")), Ok(json!(a < b)));
    }
}
