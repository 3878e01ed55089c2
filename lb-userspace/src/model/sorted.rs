//! Sorted lists, compared as they are read.

/// What there is more of in the second of two sorted lists.
pub fn added<'a, K: Ord + 'a>(
    before: impl IntoIterator<Item = &'a K>,
    after: impl IntoIterator<Item = &'a K>,
) -> impl Iterator<Item = &'a K> {
    let mut before = before.into_iter().peekable();
    let is_new = move |key: &&K| {
        // Mostly it is the next one.
        if before.next_if_eq(key).is_some() {
            return false;
        }
        while before.next_if(|known| known < key).is_some() {}
        before.next_if_eq(key).is_none()
    };
    after.into_iter().filter(is_new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0_u8..6, 0..8).prop_map(|mut list| {
            list.sort_unstable();
            list
        })
    }

    proptest! {
        #[test]
        fn what_joins_or_leaves_is_told_as_often_as_it_does(before in sorted(), after in sorted()) {
            let mut now = before.clone();
            for gone in added(&after, &before) {
                now.remove(now.iter().position(|key| key == gone).unwrap());
            }
            now.extend(added(&before, &after));
            now.sort_unstable();
            prop_assert_eq!(now, after);
        }
    }
}
