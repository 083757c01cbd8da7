//! The messages of the gateway's protocol as JSON schemas, read from the
//! descriptors: names, types and comments are those of the `.proto` files.

use std::collections::BTreeMap;

use mingle_proto::DESCRIPTORS;
use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, field_descriptor_proto::Type,
};
use serde_json::{Map, Value, json};

const PACKAGE: &str = ".mingle.gateway.v1.";

/// What a request must say; everything else has a default. Descriptors do not
/// tell.
const REQUIRED: &[(&str, &[&str])] = &[
    ("Hello", &["token"]),
    ("Resume", &["token"]),
    ("RoomPosition", &["roomId"]),
    ("MatchJoin", &["pool"]),
    ("MatchLeave", &["ticketId"]),
    ("RoomJoin", &["roomId"]),
    ("RoomLeave", &["roomId"]),
    ("Send", &["roomId", "clientMsgId", "body"]),
    ("Edit", &["roomId", "messageId", "body"]),
    ("Delete", &["roomId", "messageId"]),
    ("History", &["roomId"]),
    ("Read", &["roomId"]),
    ("Typing", &["roomId"]),
    ("PresenceSet", &["status"]),
    ("CreateRoomBody", &["kind"]),
    ("SendBody", &["clientMsgId", "body"]),
    ("TicketBody", &["pool"]),
    ("DevTokenBody", &["userId"]),
];

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the server, which refuses what it does not know.
    In,
    /// To clients, which ignore what they do not know. All fields are present
    /// but for those that may have no value.
    Out,
}

/// One of the kinds that a frame can be.
#[derive(Debug)]
pub(super) struct Kind {
    /// As it stands in the frame.
    pub(super) name: String,
    /// The message.
    pub(super) message: String,
    /// Its field's number.
    pub(super) number: i32,
}

/// A message with its comments.
struct Described {
    message: DescriptorProto,
    comment: String,
    fields: Vec<String>,
}

/// The protocol, as its descriptors tell it.
pub(super) struct Protocol {
    messages: BTreeMap<String, Described>,
    enums: BTreeMap<String, (EnumDescriptorProto, String)>,
    reasons: Vec<String>,
}

impl Protocol {
    /// Reads it.
    pub(super) fn read() -> Self {
        let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
        let (mut messages, mut enums) = (BTreeMap::new(), BTreeMap::new());
        for file in files.iter().filter(|file| file.package() == "mingle.gateway.v1") {
            for (at, message) in (0..).zip(&file.message_type) {
                let fields = (0..).zip(&message.field);
                let described = Described {
                    comment: comment(file, &[4, at]),
                    fields: fields.map(|(field, _)| comment(file, &[4, at, 2, field])).collect(),
                    message: message.clone(),
                };
                messages.insert(message.name().to_owned(), described);
            }
            for (at, kinds) in (0..).zip(&file.enum_type) {
                let described = (kinds.clone(), comment(file, &[5, at]));
                enums.insert(kinds.name().to_owned(), described);
            }
        }
        Self { messages, enums, reasons: reasons(&files) }
    }

    /// What the comment above a message says.
    pub(super) fn comment(&self, message: &str) -> &str {
        &self.messages[message].comment
    }

    /// The kinds of a frame, in the order of their numbers.
    pub(super) fn kinds(&self, frame: &str) -> Vec<Kind> {
        let fields = self.messages[frame].message.field.iter();
        let kinds = fields.filter(|field| field.oneof_index.is_some() && !field.proto3_optional());
        let kind = |field: &FieldDescriptorProto| Kind {
            name: field.json_name().to_owned(),
            message: local(field).to_owned(),
            number: field.number(),
        };
        kinds.map(kind).collect()
    }

    /// The schemas of messages that go each way, and of all that they are made of.
    pub(super) fn schemas(&self, taken: &[&str], given: &[&str]) -> Map<String, Value> {
        let mut found = BTreeMap::new();
        for (names, way) in [(taken, Way::In), (given, Way::Out)] {
            for name in names {
                self.collect(name, way, &mut found);
            }
        }
        found.into_iter().map(|(name, (_, schema))| (name, schema)).collect()
    }

    fn collect(&self, name: &str, way: Way, found: &mut BTreeMap<String, (Way, Value)>) {
        if let Some((values, comment)) = self.enums.get(name) {
            let names: Vec<_> = values.value.iter().map(|value| value.name()).collect();
            let schema = with_comment(json!({"type": "string", "enum": names}), comment);
            found.insert(name.to_owned(), (way, schema));
            return;
        }
        if let Some((known, _)) = found.get(name) {
            assert_eq!(*known, way, "{name} goes both ways: is it strict or not?");
            return;
        }
        found.insert(name.to_owned(), (way, self.message(name, way)));
        for field in &self.messages[name].message.field {
            let inner = entry(&self.messages[name].message, field).unwrap_or(field);
            if inner.type_name().starts_with(PACKAGE) {
                self.collect(local(inner), way, found);
            }
        }
    }

    fn message(&self, name: &str, way: Way) -> Value {
        let Described { message, comment, fields } = &self.messages[name];
        let (mut properties, mut present) = (Map::new(), Vec::new());
        for (field, comment) in message.field.iter().zip(fields) {
            let mut schema = with_comment(field_schema(message, field, way), comment);
            if (name, field.name()) == ("Error", "reason") {
                // More may come: clients take one that they do not know for its code.
                schema["x-extensible-enum"] = json!(self.reasons);
            }
            properties.insert(field.json_name().to_owned(), schema);
            let is_single_message = field.r#type() == Type::Message && !is_list(field);
            if !field.proto3_optional() && !is_single_message {
                present.push(field.json_name());
            }
        }
        let required = match way {
            Way::Out => present,
            Way::In => REQUIRED.iter().find(|(of, _)| *of == name).map_or(vec![], |it| it.1.into()),
        };
        for required in &required {
            assert!(properties.contains_key(*required), "{name} has no {required}");
        }
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        if way == Way::In {
            schema["additionalProperties"] = json!(false);
        }
        with_comment(schema, comment)
    }
}

/// A reference to the schema of this name.
pub(super) fn schema_of(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The schema with a description; one that only refers has no room for it.
fn with_comment(schema: Value, comment: &str) -> Value {
    if comment.is_empty() {
        return schema;
    }
    let mut described =
        if schema.get("$ref").is_some() { json!({"allOf": [schema]}) } else { schema };
    described["description"] = json!(comment);
    described
}

fn field_schema(message: &DescriptorProto, field: &FieldDescriptorProto, way: Way) -> Value {
    match entry(message, field) {
        Some(value) => json!({"type": "object", "additionalProperties": one(value, way)}),
        None if is_list(field) => json!({"type": "array", "items": one(field, way)}),
        None => one(field, way),
    }
}

/// One value of a field, in canonical proto3 JSON.
fn one(field: &FieldDescriptorProto, way: Way) -> Value {
    match (field.r#type(), field.type_name()) {
        (Type::String, _) => json!({"type": "string"}),
        // None of ours is anything else than a number.
        (Type::Double, _) => json!({"type": "number"}),
        (Type::Bool, _) => json!({"type": "boolean"}),
        (Type::Uint32, _) => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        (Type::Uint64, _) if way == Way::In => {
            json!({"type": ["string", "integer"], "pattern": "^[0-9]+$", "minimum": 0})
        }
        (Type::Uint64, _) => json!({"type": "string", "pattern": "^[0-9]+$"}),
        (_, ".google.protobuf.Timestamp") => json!({"type": "string", "format": "date-time"}),
        // The protocol's lists are of strings, as its comments say.
        (_, ".google.protobuf.ListValue") => json!({"type": "array", "items": {"type": "string"}}),
        (Type::Message | Type::Enum, _) => schema_of(local(field)),
        (other, _) => panic!("{} is of a type without a schema: {other:?}", field.name()),
    }
}

/// The value of a map's entries.
fn entry<'a>(
    message: &'a DescriptorProto,
    field: &FieldDescriptorProto,
) -> Option<&'a FieldDescriptorProto> {
    let name = field.type_name().rsplit('.').next()?;
    let nested = message.nested_type.iter().find(|nested| nested.name() == name)?;
    nested.options.as_ref().filter(|options| options.map_entry())?;
    nested.field.iter().find(|field| field.name() == "value")
}

fn is_list(field: &FieldDescriptorProto) -> bool {
    field.label() == prost_types::field_descriptor_proto::Label::Repeated
}

/// The name of a field's type without its package.
fn local(field: &FieldDescriptorProto) -> &str {
    field.type_name().trim_start_matches(PACKAGE)
}

/// The comment above what stands at this path of a file, as one paragraph.
fn comment(file: &FileDescriptorProto, path: &[i32]) -> String {
    let places = file.source_code_info.iter().flat_map(|info| &info.location);
    let leading = places
        .filter(|place| place.path == path)
        .find_map(|place| place.leading_comments.as_deref());
    leading.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Every reason that an error can have, as it travels.
fn reasons(files: &[FileDescriptorProto]) -> Vec<String> {
    let kinds = files.iter().filter(|file| file.package() == "mingle.errors.v1");
    let values = kinds.flat_map(|file| &file.enum_type).flat_map(|kinds| &kinds.value);
    let named = values.filter(|value| value.number() != 0);
    let names = named.map(|value| value.name().trim_start_matches("REASON_").to_owned());
    names.collect()
}
