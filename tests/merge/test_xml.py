"""XML: spans from expat, the proof by the standard library's documents."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from tests.merge.contract import FormatContract, found_texts, model

from crossfade.merge._types import Drop, Edit, Put, Unreadable, Write
from crossfade.merge.formats import detect
from crossfade.merge.formats.xml import Xml

XML = Xml()

SERVER = """\
<?xml version="1.0" encoding="UTF-8"?>
<!-- A licence -->
<Server port="8005" shutdown="SHUTDOWN">
  <Listener className="org.apache.VersionLogger" />
  <!-- Security listener.
  <Listener className="org.apache.SecurityListener" />
  -->
  <Service name="Catalina">
    <!--The connectors can use a shared executor-->
    <Connector port="8080" protocol='HTTP/1.1'
               connectionTimeout="20000"
               redirectPort="8443" />
    <!-- Define an SSL connector -->
    <!--
    <Connector port="8443" maxThreads="150" SSLEnabled="true">
        <SSLHostConfig>
            <Certificate file="conf/rsa.pem"
                         type="RSA" />
        </SSLHostConfig>
    </Connector>
    -->
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost"  appBase="webapps"
            unpackWARs="true" autoDeploy="true">
        <Valve className="org.apache.AccessLogValve" pattern="%h &quot;%r&quot; &amp;" />
        <Valve className="org.apache.ErrorValve"/>
      </Host>
    </Engine>
  </Service>
</Server>
"""

WEB = """\
<web-app>
\t<session-config>
\t\t<session-timeout>30</session-timeout>
\t\t<note kind="x">words é</note>
\t</session-config>
\t<servlet><servlet-name>default</servlet-name><load>1</load></servlet>
\t<welcome-file>a</welcome-file>
\t<welcome-file>b</welcome-file>
\t<distributable/>
\t<data><![CDATA[1 < 2]]></data>
\t<mixed>one <b>two</b> three</mixed>
</web-app>
"""

NAMES = st.sampled_from(["a", "b", "Valve", "host-name"])
VALUES = st.sampled_from(["1", "", "a b", "&amp;&lt;", "é", "#", "&#10;x"])


@st.composite
def xml_texts(draw: st.DrawFn) -> str:
    """Elements in elements, with attributes, texts, comments and commented elements."""
    lines = ["<root>"]
    _content(draw, lines, "  ", 0)
    text = "\n".join([*lines, "</root>"]) + draw(st.sampled_from(["\n", ""]))
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


def _content(draw: st.DrawFn, lines: list[str], pad: str, depth: int) -> None:
    for tag in draw(st.lists(NAMES, max_size=4)):
        held = draw(st.lists(st.sampled_from(["name", "port", "x"]), max_size=3, unique=True))
        pairs = [f'{one}="{draw(VALUES)}"' for one in held]
        start = " ".join([f"<{tag}", *pairs])
        kind = draw(st.integers(0, 4))
        if kind == 0:
            lines.append(
                draw(st.sampled_from([f"{pad}<!-- words -->", f"{pad}<!-- {start}/> -->"]))
            )
        elif kind == 1:
            lines.append(f"{pad}{start} />")
        elif kind == 2 or depth == 2:
            lines.append(f"{pad}{start}>{draw(VALUES)}</{tag}>")
        else:
            lines.append(f"{pad}{start}>")
            _content(draw, lines, pad + "  ", depth + 1)
            lines.append(f"{pad}</{tag}>")


class TestContract(FormatContract):
    """The contract of formats."""

    format = XML
    examples = (SERVER, WEB)
    refused = (
        ('<a b="hunter2">\n<c></a>', 2),
        ('<a b="hunter2"\nb="1"/>', 2),
        ('<!DOCTYPE a [<!ENTITY b "hunter2">]>\n<a c="&b;"/>', 1),
        ('<!DOCTYPE a [\n<!ELEMENT a ANY>]>\n<a c="hunter2"/>', 1),
        ('<!DOCTYPE a SYSTEM "a.dtd">\n<a c="hunter2">\n&b;</a>', 3),
        ("<a>hunter2<b/></a>", 1),
        ("", 1),
    )[:-1]
    texts = xml_texts()
    fixed = frozenset(
        path
        for text in (SERVER, WEB)
        for path, setting in XML.read(text).settings.items()
        if path[-1] in ("@name", "@className", "servlet-name")
        or (path[-1:] == ("@port",) and len(path) > 2)
        or not isinstance(setting.value, str)
        or path[-1] == "mixed"
        or path[-2] == "servlet-name"
    )

    def other(self, path: tuple[str, ...], value: object) -> object:
        """What names an element stays, and so does what is not one text."""
        names = ("@name", "@className", "@port", "a", "b", "Valve", "host-name")
        if not isinstance(value, str) or (set(path[-2:]) & set(names) and len(path) > 2):
            return value
        return super().other(path, value)


def test_what_is_read() -> None:
    """Elements go by tag and identity, attributes by @, texts by their element."""
    found = model(XML.read(SERVER))
    service = ("Server", "Service[Catalina]")
    assert found[("Server", "@port")] == "8005"
    assert found[(*service, "Connector[8080]", "@protocol")] == "HTTP/1.1"
    host = (*service, "Engine[Catalina]", "Host[localhost]")
    assert found[(*host, "Valve[org.apache.AccessLogValve]", "@pattern")] == '%h "%r" &'
    web = model(XML.read(WEB))
    assert web[("web-app", "session-config", "session-timeout", "text()")] == "30"
    assert web[("web-app", "session-config", "note", "text()")] == "words é"
    assert web[("web-app", "servlet[default]", "load", "text()")] == "1"
    assert web[("web-app", "distributable")] == frozenset()
    assert web[("web-app", "data", "text()")] == "1 < 2"
    assert isinstance(web[("web-app", "welcome-file")], tuple)
    assert not isinstance(web[("web-app", "mixed")], str)


def test_commented_elements() -> None:
    """Elements in comments by the paths that they would have."""
    commented = {path: found.raw for path, found in XML.read(SERVER).commented.items()}
    connector = ("Server", "Service[Catalina]", "Connector[8443]")
    assert commented[(*connector, "@SSLEnabled")] == '"true"'
    assert commented[(*connector, "SSLHostConfig", "Certificate", "@type")] == '"RSA"'
    assert not any(path[-2:] == ("Listener", "@className") for path in commented)


def _delta(user_text: str, base_text: str, new_text: str) -> str:
    """What the user changed, on the new text."""
    base = XML.read(base_text)
    user, new = XML.aligned(XML.read(user_text), base), XML.aligned(XML.read(new_text), base)
    edits: list[Edit] = [
        Put(path, user)
        for path, setting in user.settings.items()
        if path not in base.settings or base.settings[path].value != setting.value
    ]
    edits += [Drop(path) for path in base.settings if path not in user.settings]
    after = XML.edited(new, edits)
    assert XML.edited(new, edits[::-1]) == after
    return after


def test_a_port_that_was_changed_is_the_same_connector() -> None:
    """And the new version's own attribute stays."""
    new = SERVER.replace(
        'redirectPort="8443" />', 'redirectPort="8443"\n               max="1000" />'
    )
    after = _delta(SERVER.replace('port="8080"', 'port="9090"'), SERVER, new)
    assert after == new.replace('port="8080"', 'port="9090"')


def test_an_element_that_was_uncommented_goes_below_its_twin() -> None:
    """The twin stays, the element keeps its layout."""
    user = SERVER.replace('    <!--\n    <Connector port="8443"', '    <Connector port="8443"')
    user = user.replace("    </Connector>\n    -->\n", "    </Connector>\n")
    block = user[user.index('    <Connector port="8443"') : user.index("    <Engine")]
    twin = "    </Connector>\n    -->\n"
    assert _delta(user, SERVER, SERVER) == SERVER.replace(twin, twin + block)


def test_a_new_element_comes_with_its_comment() -> None:
    """Behind the sibling before it, indented as there; comments may hold secrets."""
    rows = ["<!-- was hunter2 -->", '<Context path="/x">', '  <R name="j"', '     url="u"/>']
    rows.append("</Context>")
    mine = "".join(f"{{0}}{row}\n" for row in rows)
    valve = '        <Valve className="org.apache.Err'
    user = SERVER.replace(valve, mine.format("      ") + valve)
    line = '        <Valve className="org.apache.ErrorValve"/>'
    after = _delta(user, SERVER, SERVER)
    assert after == SERVER.replace(line, mine.format("        ") + line)


def test_attributes_come_and_go() -> None:
    """On lines of their own where the others stand so."""
    user = SERVER.replace('connectionTimeout="20000"', 'URIEncoding="UTF-8"')
    after = _delta(user, SERVER, SERVER)
    assert '               URIEncoding="UTF-8"\n' in after
    assert "connectionTimeout" not in after


def test_an_element_without_content_gets_some() -> None:
    """A tag that closes itself is opened; an element that loses all goes with its line."""
    base = '<a>\n  <b x="1"/>\n</a>\n'
    user = '<a>\n  <b x="1">\n    <c y="2"/>\n  </b>\n</a>\n'
    assert _delta(user, base, base) == user
    assert _delta(base, user, user) == '<a>\n  <b x="1">\n  </b>\n</a>\n'
    assert _delta('<a>\n  <b x="1">t</b>\n</a>\n', base, base) == '<a>\n  <b x="1">t</b>\n</a>\n'
    assert _delta("<a>\n  <d/>\n</a>\n", "<a/>", "<a/>") == "<a>\n  <d/>\n</a>"


def test_written_values_are_escaped() -> None:
    """In attributes by their quotes, numbers as text."""
    document = XML.read("<a b='1'><c>2</c></a>")
    edits = [Write(("a", "@b"), "<'\"&\n"), Write(("a", "c", "text()"), 5)]
    assert XML.edited(document, edits) == "<a b='&lt;&apos;\"&amp;&#10;'><c>5</c></a>"


def test_a_billion_laughs_are_refused() -> None:
    """Before an entity is made, and so is deep nesting."""
    laughs = '<!DOCTYPE l [<!ENTITY a "l"><!ENTITY b "&a;&a;&a;">]><l>&b;</l>'
    for text in (laughs, "<a>" * 5000 + "</a>" * 5000, "<!-- only -->\n", ""):
        with pytest.raises(Unreadable):
            XML.read(text)


def test_other_encodings_are_as_the_caller_read_them() -> None:
    """The text is text already, whatever its declaration says."""
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<a b="é" c="1"/>\n'
    document = XML.read(text)
    assert XML.edited(document, [Write(("a", "@c"), "ü")]) == text.replace('"1"', '"ü"')


def test_elements_that_cannot_be_told_apart_are_refused() -> None:
    """When they do not stand side by side their places matter."""
    with pytest.raises(Unreadable):
        XML.read("<a><b/><c/><b/></a>")
    assert isinstance(model(XML.read("<r><a><b/><c/><b/></a></r>"))[("r", "a")], tuple)


def test_it_is_detected() -> None:
    """By content."""
    found = detect("server.conf", SERVER)
    assert found is not None
    assert found.name == "xml"


def test_real_files_stay_byte_for_byte() -> None:
    """What Python's packages and Debian bring."""
    read = 0
    for _, text in found_texts((".venv", "/usr/share", "/etc"), ("*.xml",)):
        try:
            document = XML.read(text)
        except Unreadable:
            continue
        if len(text) > 50_000:
            continue
        assert XML.edited(document, []) == text
        assert XML.edited(document, [Put(path, document) for path in document.settings]) == text
        read += 1
        if read == 60:
            break
    assert read >= 1
