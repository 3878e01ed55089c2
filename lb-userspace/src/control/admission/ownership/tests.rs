use super::*;

fn by(manager: &str) -> Writer<'_> {
    Writer { manager, now: "2026-01-01T00:00:00Z" }
}

fn owners(managed: &[ManagedFields]) -> Vec<(String, String)> {
    let shown =
        |entry: &ManagedFields| (format!("{} {}", entry.manager, entry.operation), entry.fields.to_string());
    managed.iter().map(shown).collect()
}

/// Applies without further completion.
fn applied(
    live: Option<&(Value, Vec<ManagedFields>)>,
    manifest: &Value,
    manager: &str,
    force: bool,
) -> Result<(Value, Vec<ManagedFields>), Vec<Owned>> {
    let before = live.map(|(_, owners)| owners.as_slice()).unwrap_or_default();
    let live = live.map(|(object, _)| object);
    let applied = apply(live, before, manifest, by(manager));
    let after = applied.settle(live, before, &applied.object, by(manager), force)?;
    Ok((applied.object, after))
}

#[test]
fn a_field_that_is_no_longer_applied_goes() {
    let first =
        applied(None, &json!({"spec": {"description": "a", "ipPool": "lab"}}), "kubectl", false).unwrap();
    let second = applied(Some(&first), &json!({"spec": {"ipPool": "lab"}}), "kubectl", false).unwrap();
    assert_eq!(second.0, json!({"spec": {"ipPool": "lab"}}));
    assert_eq!(owners(&second.1), [("kubectl Apply".into(), r#"{"f:spec":{"f:ipPool":{}}}"#.into())]);
}

#[test]
fn anothers_field_is_a_conflict_unless_it_is_forced_or_the_same() {
    let first = applied(None, &json!({"spec": {"description": "a", "ipPool": "lab"}}), "one", false).unwrap();
    let same = applied(Some(&first), &json!({"spec": {"description": "a"}}), "two", false).unwrap();
    assert_eq!(owners(&same.1).len(), 2, "both own it");
    let other = json!({"spec": {"description": "b"}});
    let conflicts = applied(Some(&first), &other, "two", false).unwrap_err();
    let expected =
        Owned { field: ".spec.description".into(), manager: "one".into(), operation: "Apply".into() };
    assert_eq!(conflicts, [expected]);
    let forced = applied(Some(&first), &other, "two", true).unwrap();
    assert_eq!(
        owners(&forced.1),
        [
            ("one Apply".into(), r#"{"f:spec":{"f:ipPool":{}}}"#.into()),
            ("two Apply".into(), r#"{"f:spec":{"f:description":{}}}"#.to_owned()),
        ]
    );
}

#[test]
fn what_another_owns_too_stays_when_it_is_no_longer_applied() {
    let manifest = json!({"metadata": {"labels": {"app": "web"}}});
    let first = applied(None, &manifest, "one", false).unwrap();
    let second = applied(Some(&first), &manifest, "two", false).unwrap();
    let third = applied(Some(&second), &json!({}), "one", false).unwrap();
    assert_eq!(third.0, manifest);
    assert_eq!(owners(&third.1).len(), 1);
}

#[test]
fn an_update_takes_what_it_changes_and_only_that() {
    let first = applied(None, &json!({"spec": {"description": "a", "ipPool": "lab"}}), "one", false).unwrap();
    let changed = json!({"spec": {"description": "b", "ipPool": "lab"}, "status": {"address": "192.0.2.1"}});
    let managed = update(Some(&first.0), (&first.1, &[]), &changed, by("kubectl-edit"));
    assert_eq!(
        owners(&managed),
        [
            ("one Apply".into(), r#"{"f:spec":{"f:ipPool":{}}}"#.into()),
            ("kubectl-edit Update".into(), r#"{"f:spec":{"f:description":{}}}"#.to_owned()),
        ]
    );
    let removed = json!({"spec": {"ipPool": "lab"}});
    let managed = update(Some(&changed), (&managed, &[]), &removed, by("other"));
    assert_eq!(owners(&managed).len(), 1, "nobody owns what is gone: {managed:?}");
}

#[test]
fn the_same_again_changes_no_time() {
    let object = json!({"spec": {"description": "a"}});
    let first = update(None, (&[], &[]), &object, by("lb"));
    let later = Writer { now: "2026-01-02T00:00:00Z", ..by("lb") };
    assert_eq!(update(Some(&object), (&first, &[]), &object, later), first);
    let applied = apply(Some(&object), &first, &object, later);
    let managed = applied.settle(Some(&object), &first, &object, later, false).unwrap();
    assert_eq!(managed[0], first[0]);
}

#[test]
fn a_writer_can_say_who_owns_what_and_that_nobody_does() {
    let object = json!({"spec": {"description": "a"}});
    let first = update(None, (&[], &[]), &object, by("kubectl-client-side-apply"));
    let mut given = first.clone();
    given[0].manager = "kubectl".into();
    given[0].operation = "Apply".into();
    assert_eq!(update(Some(&object), (&first, &given), &object, by("x")), given);
    assert_eq!(update(Some(&object), (&first, &[ManagedFields::default()]), &object, by("x")), []);
}

#[test]
fn thousands_of_fields_are_compared_in_moments() {
    let labels = |prefix: &str| -> Value {
        let fields = (0..20_000).map(|n| (format!("{prefix}-{n}"), json!("x")));
        json!({"metadata": {"annotations": fields.collect::<Map<_, _>>()}})
    };
    let (one, other) = (labels("one"), labels("other"));
    let started = std::time::Instant::now();
    let first = applied(None, &one, "kubectl", false).unwrap();
    let second = applied(Some(&first), &other, "kubectl", false).unwrap();
    assert_eq!(second.0, other);
    let managed = update(Some(&one), (&first.1, &[]), &other, by("other"));
    assert_eq!(managed.len(), 1);
    // Field by field it would be billions of comparisons, which take minutes.
    assert!(started.elapsed() < std::time::Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn writers_beyond_ten_are_put_together_the_longest_silent_first() {
    let mut object = json!({"metadata": {"labels": {}}});
    let mut managed = Vec::new();
    for n in 0..15 {
        let before = object.clone();
        object["metadata"]["labels"][format!("l{n}")] = json!("x");
        let now = format!("2026-01-01T00:00:{n:02}Z");
        let writer = Writer { manager: &format!("m{n}"), now: &now };
        managed = update(Some(&before), (&managed, &[]), &object, writer);
    }
    let names: Vec<&str> = managed.iter().map(|entry| entry.manager.as_str()).collect();
    assert_eq!(names.len(), MAX_UPDATERS);
    assert_eq!((names[0], names[1], names[9]), (ANCIENT, "m6", "m14"));
    let kept = FieldSet::from_v1(&managed[0].fields);
    assert_eq!(kept.iter().count(), 6, "no field is lost: {kept:?}");
}
