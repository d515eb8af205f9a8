//! Resolves the member each activity belongs to. Pure: the caller queries the store, once per
//! batch.

use std::collections::HashMap;

use trailpad_common::activity::OnUnknownMember;
use trailpad_common::failure::{Cause, Failure, Reason};
use trailpad_common::id::MemberId;
use trailpad_common::store::{MemberQuery, NewActivity, Resolution};
use trailpad_common::timestamp::Timestamp;

use crate::decode::{Failed, Item};

pub struct Questions {
    /// The distinct queries of a batch.
    pub queries: Vec<MemberQuery>,
    /// For each item, the index of its query.
    of_item: Vec<usize>,
}

pub fn questions(items: &[Item<'_>]) -> Questions {
    let mut queries = Vec::new();
    let mut known: HashMap<(_, Option<&str>), usize> = HashMap::new();
    let of_item = items
        .iter()
        .map(|item| {
            let webhook_id = item.envelope.webhook_id;
            let email = item.activity.member_email.as_ref();
            *known.entry((webhook_id, email.map(|email| email.as_str()))).or_insert_with(|| {
                queries.push(MemberQuery { webhook_id, email: email.cloned() });
                queries.len() - 1
            })
        })
        .collect();
    Questions { queries, of_item }
}

/// Splits a batch into activities with a member and failed activities. `answers` are the store's
/// answers to the queries, in their order.
pub fn assign<'a>(
    items: Vec<Item<'a>>,
    questions: &Questions,
    answers: &[Option<Resolution>],
) -> (Vec<Assigned<'a>>, Vec<Failed<'a>>) {
    let mut assigned = Vec::with_capacity(items.len());
    let mut failed = Vec::new();
    for (item, question) in items.into_iter().zip(&questions.of_item) {
        let answer = answers.get(*question).and_then(Option::as_ref);
        match owner(&item, answer) {
            Ok((resolution, member_id)) => {
                assigned.push(Assigned::new(item, resolution, member_id))
            }
            Err(cause) => failed.push(Failed {
                envelope: item.envelope,
                member_email: item.activity.member_email,
                failure: Failure::Transient(cause),
            }),
        }
    }
    (assigned, failed)
}

/// An activity ready for the store. The envelope is kept in case the store refuses it.
pub struct Assigned<'a> {
    pub new: NewActivity<'a>,
    pub envelope: trailpad_common::queue::envelope::Envelope<'a>,
}

impl<'a> Assigned<'a> {
    fn new(item: Item<'a>, resolution: &Resolution, member_id: MemberId) -> Self {
        let Item { envelope, activity } = item;
        let new = NewActivity {
            id: envelope.id,
            webhook_id: envelope.webhook_id,
            project_id: resolution.project_id,
            member_id,
            received_at: envelope.received_at,
            activity,
        };
        Self { new, envelope }
    }
}

fn owner<'r>(
    item: &Item<'_>,
    answer: Option<&'r Resolution>,
) -> Result<(&'r Resolution, MemberId), Cause> {
    let Some(resolution) = answer else {
        let error = "the webhook does not exist in the store".to_owned();
        return Err(Cause { reason: Reason::UnknownWebhook, error });
    };
    if item.activity.member_email.is_none() {
        return Ok((resolution, resolution.creator_id));
    }
    let member =
        resolution.member.filter(|member| was_member(member.ended_at, item.envelope.received_at));
    match (member, item.activity.processing.on_unknown_member) {
        (Some(member), _) => Ok((resolution, member.id)),
        (None, OnUnknownMember::Creator) => Ok((resolution, resolution.creator_id)),
        (None, OnUnknownMember::Retry) => {
            let error =
                "memberEmail matches no member of the workspace: add the member, then replay"
                    .to_owned();
            Err(Cause { reason: Reason::UnknownMember, error })
        }
    }
}

/// Activities that were received before a member left are still assigned to that member.
fn was_member(ended_at: Option<Timestamp>, received_at: Timestamp) -> bool {
    ended_at.is_none_or(|ended_at| received_at < ended_at)
}

#[cfg(test)]
mod tests {
    use trailpad_common::activity::{Activity, Handling, Limits};
    use trailpad_common::id::{ActivityId, ProjectId, WebhookId};
    use trailpad_common::queue::envelope::Envelope;
    use trailpad_common::store::ResolvedMember;

    use super::*;

    fn item(body: &'static str, webhook_id: WebhookId) -> Item<'static> {
        let received_at = Timestamp::from_unix_micros(100);
        let id = ActivityId::received_at(received_at);
        let envelope =
            Envelope { id, webhook_id, received_at, attempt: 1, traceparent: None, activity: body };
        let parsed = Activity::parse(body.as_bytes(), Handling::Lenient, &Limits::NONE);
        Item { envelope, activity: parsed.expect("the activity should be valid").activity }
    }

    const PLAIN: &str = r#"{"title":"T","startTime":"2024-08-03T11:30:00Z"}"#;
    const JANE: &str =
        r#"{"title":"T","startTime":"2024-08-03T11:30:00Z","memberEmail":"Jane@x.org"}"#;
    const JANE_OR_CREATOR: &str = r#"{"title":"T","startTime":"2024-08-03T11:30:00Z","memberEmail":"jane@x.org","metadata":{"processing":{"onUnknownMember":"creator"}}}"#;

    fn resolution(member: Option<ResolvedMember>) -> Resolution {
        Resolution { project_id: ProjectId::generate(), creator_id: MemberId::generate(), member }
    }

    fn owner_of(body: &'static str, answer: Option<&Resolution>) -> Result<MemberId, Reason> {
        owner(&item(body, WebhookId::generate()), answer)
            .map(|(_, id)| id)
            .map_err(|cause| cause.reason)
    }

    #[test]
    fn equal_queries_are_sent_once() {
        let one = WebhookId::generate();
        let two = WebhookId::generate();
        let items = [
            item(PLAIN, one),
            item(JANE, one),
            item(PLAIN, one),
            item(JANE_OR_CREATOR, one),
            item(PLAIN, two),
        ];
        let questions = questions(&items);
        assert_eq!(questions.queries.len(), 3);
        assert_eq!(questions.of_item, [0, 1, 0, 1, 2]);
    }

    #[test]
    fn an_activity_without_an_address_is_assigned_to_the_creator() {
        let answer = resolution(None);
        assert_eq!(owner_of(PLAIN, Some(&answer)), Ok(answer.creator_id));
    }

    #[test]
    fn an_activity_received_before_its_member_left_is_assigned_to_the_member() {
        let id = MemberId::generate();
        let with_end = |end: Option<i64>| {
            resolution(Some(ResolvedMember { id, ended_at: end.map(Timestamp::from_unix_micros) }))
        };
        assert_eq!(owner_of(JANE, Some(&with_end(None))), Ok(id));
        assert_eq!(owner_of(JANE, Some(&with_end(Some(101)))), Ok(id));
        assert_eq!(owner_of(JANE, Some(&with_end(Some(100)))), Err(Reason::UnknownMember));
    }

    #[test]
    fn an_unknown_member_fails_unless_the_activity_falls_back_to_the_creator() {
        let answer = resolution(None);
        assert_eq!(owner_of(JANE, Some(&answer)), Err(Reason::UnknownMember));
        assert_eq!(owner_of(JANE_OR_CREATOR, Some(&answer)), Ok(answer.creator_id));
    }

    #[test]
    fn an_unknown_webhook_fails() {
        assert_eq!(owner_of(PLAIN, None), Err(Reason::UnknownWebhook));
    }
}
