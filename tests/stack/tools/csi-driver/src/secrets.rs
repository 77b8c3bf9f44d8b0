//! Whether a request has the credentials that ceph-csi needs, so that a deletion whose secret is lost really fails.

use std::collections::HashMap;

/// The secrets of a request, by key.
pub type Secrets = HashMap<String, String>;

/// What is missing, in ceph-csi's words. Values are looked at and never said.
pub fn check(secrets: &Secrets) -> Result<(), String> {
    if secrets.is_empty() {
        return Err("provided secret is empty".to_owned());
    }
    if !secrets.contains_key("userID") {
        return Err("missing ID field 'userID' in secrets".to_owned());
    }
    if secrets.get("userKey").is_none_or(String::is_empty) {
        return Err("missing key field 'userKey' in secrets".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_fields_are_needed_and_the_key_must_not_be_empty() {
        for (fields, says) in [
            (&[][..], "provided secret is empty"),
            (&[("userKey", "k")], "missing ID field 'userID' in secrets"),
            (&[("userID", "u")], "missing key field 'userKey' in secrets"),
            (&[("userID", "u"), ("userKey", "")], "missing key field 'userKey' in secrets"),
        ] {
            let secrets = fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            assert_eq!(check(&secrets), Err(says.to_owned()));
        }
        let whole = HashMap::from([("userID", "u"), ("userKey", "k")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(check(&whole), Ok(()));
    }
}
