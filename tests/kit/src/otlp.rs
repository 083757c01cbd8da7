//! An OTLP receiver that is not ours, and the spans that it read.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use crate::{Server, eventually, free_port, installed::installed, secret};

/// The version that `tests/run` installs.
const VERSION: &str = "0.0.1a15";
const READY: Duration = Duration::from_secs(20);

/// A running `rotel`, a small OpenTelemetry collector that prints what it
/// receives; ended with this value or with the test process.
#[derive(Debug)]
pub struct Collector {
    server: Server,
    port: u16,
}

/// One span as the collector printed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Its trace, in hexadecimal digits.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// The span that it is a child of; empty for a root.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// `SERVER`, `CLIENT`, `CONSUMER`, `INTERNAL` or `PRODUCER`.
    pub kind: String,
    /// `UNSET`, `OK` or `ERROR`.
    pub status: String,
    /// Its own attributes.
    pub attributes: BTreeMap<String, String>,
    /// Those of the process that made it.
    pub resource: BTreeMap<String, String>,
    /// Trace and span of each link.
    pub links: Vec<(String, String)>,
}

impl Collector {
    /// Starts one and waits until it accepts connections.
    ///
    /// # Panics
    ///
    /// When it is not installed or does not listen in time.
    pub async fn start() -> Self {
        let program = installed(&format!("rotel-{VERSION}/rotel/rotel-agent"));
        let server = Server::prepare("rotel", "TERM");
        let (port, unused) = (free_port(), free_port());
        let folder = server.folder().to_owned();
        let arguments: Vec<OsString> = [
            ("--debug-log", "traces".into()),
            ("--debug-log-verbosity", "detailed".into()),
            ("--exporter", "blackhole".into()),
            ("--otlp-grpc-endpoint", format!("127.0.0.1:{port}").into()),
            ("--otlp-http-endpoint", format!("127.0.0.1:{unused}").into()),
            ("--pid-file", folder.join("pid").into_os_string()),
            ("--log-file", folder.join("agent.log").into_os_string()),
        ]
        .into_iter()
        .flat_map(|(name, value): (_, OsString)| [name.into(), value])
        .collect();
        let arguments: Vec<_> = std::iter::once("start".into()).chain(arguments).collect();
        server.start(program.as_os_str(), &arguments);
        eventually(READY, "rotel to listen", async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        })
        .await;
        Self { server, port }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is set to.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything that came so far, as it was printed.
    #[must_use]
    pub fn text(&self) -> String {
        self.server.log()
    }

    /// The spans that came so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        read(&self.server.log())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(line) = secret::leaked(&self.server.log(), &[])
            && !std::thread::panicking()
        {
            panic!("mingle exported a token: {line}");
        }
    }
}

/// Which part of a span the next lines are of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Resource,
    Span,
    Attributes,
    Links,
    Other,
}

/// Reads what `rotel` prints of traces. A span that is only half printed is
/// among the answer with what there is of it.
fn read(log: &str) -> Vec<Span> {
    let (mut spans, mut resource) = (Vec::<Span>::new(), BTreeMap::new());
    let mut part = Part::Other;
    for line in log.lines() {
        if let Some(attribute) = line.strip_prefix("     -> ") {
            let Some((key, value)) = attribute.split_once(": ") else { continue };
            let span = spans.last_mut();
            match (part, span) {
                (Part::Resource, _) => drop(resource.insert(key.to_owned(), plain(value))),
                (Part::Attributes, Some(span)) => {
                    span.attributes.insert(key.to_owned(), plain(value));
                }
                (Part::Links, Some(span)) => note_link(&mut span.links, key, value),
                _ => {}
            }
        } else if let (Part::Span, Some(field), Some(span)) =
            (part, line.strip_prefix("    "), spans.last_mut())
        {
            note_field(span, field);
        } else if let Some(next) = begun(line) {
            part = next;
            match part {
                Part::Resource => resource.clear(),
                Part::Span => spans.push(Span { resource: resource.clone(), ..Span::default() }),
                _ => {}
            }
        }
    }
    spans
}

/// What begins with this line.
fn begun(line: &str) -> Option<Part> {
    let is_numbered = |what: &str| line.strip_prefix(what).is_some_and(|no| no.starts_with(" #"));
    match line {
        "Attributes:" => Some(Part::Attributes),
        "Links:" => Some(Part::Links),
        "Resource attributes:" => Some(Part::Resource),
        _ if is_numbered("Span") => Some(Part::Span),
        _ if is_numbered("ResourceSpans") => Some(Part::Resource),
        _ if is_numbered("SpanLink") || line.contains("time: ") => None,
        _ => Some(Part::Other),
    }
}

fn note_field(span: &mut Span, field: &str) {
    let Some((name, value)) = field.split_once(':') else { return };
    let value = value.trim();
    match name.trim_end() {
        "Trace ID" => value.clone_into(&mut span.trace),
        "Parent ID" => value.clone_into(&mut span.parent),
        "ID" => value.clone_into(&mut span.id),
        "Name" => value.clone_into(&mut span.name),
        "Status code" => value.trim_start_matches("STATUS_CODE_").clone_into(&mut span.status),
        "Kind" => value.trim_start_matches("SPAN_KIND_").clone_into(&mut span.kind),
        _ => {}
    }
}

/// A link is printed with its trace first.
fn note_link(links: &mut Vec<(String, String)>, key: &str, value: &str) {
    match (key, links.last_mut()) {
        ("Trace ID", _) => links.push((value.to_owned(), String::new())),
        ("ID", Some((_, id))) => value.clone_into(id),
        _ => {}
    }
}

/// `chat` of `Str(chat)`, and the same of the other types.
fn plain(value: &str) -> String {
    let inner = value.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(value).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
 INFO Starting Rotel.
ResourceSpans #0
Resource SchemaURL: 
Resource attributes:
     -> service.name: Str(mingle-chat)
ScopeSpans #0
ScopeSpans SchemaURL: 
InstrumentationScope mingle 
Span #0
    Trace ID       : df1c
    Parent ID      : c655
    ID             : a311
    Name           : chat.append
    Kind           : SPAN_KIND_INTERNAL
Start time: 1
End time: 2
    Status code    : STATUS_CODE_UNSET
    Status message : 
Attributes:
     -> items: Int(3)
Links:
SpanLink #0
     -> Trace ID: 6dcd
     -> ID: 0f80
     -> TraceState: 
     -> DroppedAttributesCount: 0
Span #1
    Trace ID       : 6dcd
    Parent ID      : 
    ID             : 0f80
    Name           : chat.commit
    Kind           : SPAN_KIND_INTERNAL
ResourceSpans #0
Resource attributes:
     -> host: Str(b)
Span #0
    Trace ID       : 77
";

    #[test]
    fn spans_are_read_with_attributes_links_and_resource() {
        let spans = read(PRINTED);
        assert_eq!(spans.len(), 3);
        let append = &spans[0];
        assert_eq!((append.trace.as_str(), append.parent.as_str()), ("df1c", "c655"));
        assert_eq!((append.id.as_str(), append.name.as_str()), ("a311", "chat.append"));
        assert_eq!((append.kind.as_str(), append.status.as_str()), ("INTERNAL", "UNSET"));
        assert_eq!(append.attributes, BTreeMap::from([("items".into(), "3".into())]));
        assert_eq!(append.resource["service.name"], "mingle-chat");
        assert_eq!(append.links, [("6dcd".to_owned(), "0f80".to_owned())]);
        assert_eq!((spans[1].parent.as_str(), spans[1].links.len()), ("", 0));
        assert_eq!(spans[1].resource, append.resource);
        assert_eq!(spans[2].trace, "77");
        assert_eq!(spans[2].resource, BTreeMap::from([("host".into(), "b".into())]));
    }
}
