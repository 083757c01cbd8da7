//! OpenAPI 3.1 of the HTTP API.

use serde_json::{Map, Value, json};

use super::{
    operations::{Form, Gives, Operation, operations},
    protocol::{Protocol, schema_of},
};

const ABOUT: &str = "Matchmaking, chat and presence over HTTP, for who needs no socket. Bodies \
    are canonical proto3 JSON: 64-bit numbers are strings. A request with a field or a query \
    parameter that is not here is refused by its name.";

/// What routes are about.
const TAGS: [(&str, &str); 6] = [
    ("rooms", "Rooms of the caller, and what is said in them."),
    ("match", "Waiting for a partner, without a socket."),
    ("presence", "Who is online."),
    ("stats", "How the deployment fares, as every process tells."),
    ("development", "Only where tokens are handed out to anybody."),
    ("gateway", "The gateway itself."),
];

/// The one form of an answer that is no message of the protocol.
const OWN: &str = "Health";

/// The document.
pub(super) fn document(protocol: &Protocol) -> Value {
    let mut paths = Map::new();
    for operation in operations() {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = describe(&operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Mingle over HTTP",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The gateway that serves this document."}],
        "security": [{"token": []}],
        "tags": TAGS.map(|(name, description)| json!({"name": name, "description": description})),
        "paths": paths,
        "components": {
            "schemas": schemas(protocol),
            "headers": headers(),
            "responses": responses(),
            "securitySchemes": {"token": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "The user's token, HS256: sub, exp, aud \"mingle\".",
            }},
        },
    })
}

fn describe(operation: &Operation) -> Value {
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [tag(operation.path)],
        "responses": answers(operation),
    });
    if !operation.parameters.is_empty() {
        described["parameters"] = operation.parameters.iter().map(parameter).collect();
    }
    if let Some(message) = operation.takes {
        let content = json!({"application/json": {"schema": schema_of(message)}});
        described["requestBody"] = json!({"required": true, "content": content});
    }
    if operation.is_open {
        described["security"] = json!([]);
    }
    described
}

/// What follows `/api` in a path; the rest is for operators.
fn tag(path: &str) -> &str {
    let below = path.strip_prefix("/api/").and_then(|rest| rest.split('/').next());
    match below {
        Some(name @ ("rooms" | "match" | "presence" | "stats")) => name,
        Some("admin") => "stats",
        None if path.starts_with("/admin/") => "stats",
        Some("dev") => "development",
        _ => "gateway",
    }
}

fn parameter(parameter: &super::operations::Parameter) -> Value {
    let (place, schema) = match parameter.form {
        Form::Path => ("path", json!({"type": "string"})),
        Form::Text => ("query", json!({"type": "string"})),
        Form::Number => ("query", json!({"type": "string", "pattern": "^[0-9]+$"})),
        Form::Count => ("query", json!({"type": "integer", "minimum": 1, "maximum": 50})),
        Form::Duration => ("query", json!({"type": "string", "pattern": "^[0-9]+(ms|s)$"})),
        Form::Many => {
            let items = json!({"type": "string"});
            ("query", json!({"type": "array", "items": items, "minItems": 1, "maxItems": 256}))
        }
    };
    let required = matches!(parameter.form, Form::Path | Form::Many);
    let mut described = json!({"name": parameter.name, "in": place, "schema": schema});
    described["description"] = json!(parameter.meaning);
    described["required"] = json!(required);
    described
}

fn answers(operation: &Operation) -> Value {
    let refused = json!({"$ref": "#/components/responses/Refused"});
    let failed = json!({"$ref": "#/components/responses/Failed"});
    let text = |description: &str| {
        let content = json!({"text/plain": {"schema": {"type": "string"}}});
        json!({"description": description, "content": content})
    };
    let health = |message: &str, description: &str| {
        let content = json!({"application/json": {"schema": schema_of(message)}});
        json!({"description": description, "content": content})
    };
    match operation.gives {
        Gives::Message(message) => {
            let content = json!({"application/json": {"schema": schema_of(message)}});
            let headers = json!({
                "RateLimit": {"$ref": "#/components/headers/RateLimit"},
                "RateLimit-Policy": {"$ref": "#/components/headers/RateLimit-Policy"},
            });
            let done = json!({"description": "Done.", "content": content, "headers": headers});
            json!({"200": done, "4XX": refused, "5XX": failed})
        }
        Gives::Document => {
            let content = json!({"application/json": {"schema": {"type": "object"}}});
            json!({"200": {"description": "The document.", "content": content}, "4XX": refused})
        }
        Gives::Health(message) => {
            let (well, not) = (health(message, "It serves."), health(message, "It does not."));
            json!({"200": well, "503": not, "4XX": refused})
        }
        Gives::Text => json!({"200": text("Yes."), "503": text("No."), "4XX": refused}),
        Gives::Socket => {
            let upgrade = "The WebSocket is open. Refusals come as close codes behind it.";
            json!({"101": {"description": upgrade}, "4XX": refused})
        }
    }
}

fn responses() -> Value {
    let content = json!({"application/problem+json": {"schema": schema_of("Problem")}});
    let headers = json!({
        "Retry-After": {"$ref": "#/components/headers/Retry-After"},
        "RateLimit": {"$ref": "#/components/headers/RateLimit"},
        "RateLimit-Policy": {"$ref": "#/components/headers/RateLimit-Policy"},
    });
    let refused = "Refused: 400 the request, 401 the token, 403, 404, 405, 409 a key that was \
        used otherwise, 429 a limit.";
    let failed = "Failed: 503 and 504 can be tried again after retryAfterMs.";
    json!({
        "Refused": {"description": refused, "content": content, "headers": headers},
        "Failed": {"description": failed, "content": content, "headers": headers},
    })
}

fn headers() -> Value {
    let text = |description: &str, example: &str| json!({"description": description, "schema": {"type": "string"}, "example": example});
    let wait = "Seconds until another try makes sense.";
    json!({
        "RateLimit": text("What is left of the caller's limit.", "\"api\";r=119;t=60"),
        "RateLimit-Policy": text("The limit that was charged.", "\"api\";q=120;w=60"),
        "Retry-After": {"description": wait, "schema": {"type": "integer", "minimum": 1}},
    })
}

fn schemas(protocol: &Protocol) -> Value {
    let operations = operations();
    let taken: Vec<_> = operations.iter().filter_map(|operation| operation.takes).collect();
    let given = |operation: &Operation| match operation.gives {
        Gives::Message(message) | Gives::Health(message) => Some(message).filter(|it| *it != OWN),
        _ => None,
    };
    let mut given: Vec<_> = operations.iter().filter_map(given).collect();
    given.push("Error");
    let mut schemas = protocol.schemas(&taken, &given);
    let error = schemas.remove("Error").unwrap_or_default();
    schemas.insert("Problem".to_owned(), problem(error));
    schemas.insert(OWN.to_owned(), health());
    Value::Object(schemas)
}

/// RFC 9457's members before those of the frames' `error`.
fn problem(mut error: Value) -> Value {
    for (name, schema) in [
        ("title", json!({"type": "string"})),
        ("status", json!({"type": "integer", "description": "The status of the answer."})),
        ("detail", json!({"type": "string", "description": "As message."})),
    ] {
        error["properties"][name] = schema;
        error["required"].as_array_mut().unwrap().push(json!(name));
    }
    let of = "Of RFC 9457; absent: about:blank.";
    error["properties"]["type"] = json!({"type": "string", "format": "uri", "description": of});
    error
}

fn health() -> Value {
    let status = json!({"type": "string", "enum": ["ok", "degraded", "unavailable"]});
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": text});
    let object = |properties: Value| {
        let required: Vec<_> = properties.as_object().unwrap().keys().cloned().collect();
        json!({"type": "object", "properties": properties, "required": required})
    };
    let service = object(json!({"status": status, "causes": texts}));
    let backend = object(json!({"name": text, "kind": text, "healthy": {"type": "boolean"}}));
    object(json!({
        "status": status,
        "degraded": texts,
        "services": {"type": "object", "additionalProperties": service},
        "build": text,
        "node": text,
        "roles": texts,
        "backends": {"type": "array", "items": backend},
    }))
}
