"""The part of Go's text/template that --format needs: rows of template, data and text."""

from __future__ import annotations

import pytest

from vordr.cli.gotemplate import Template
from vordr.model.errors import UsageError

DATA = {
    "Name": "/web", "Id": "abc", "State": {"Running": True, "ExitCode": 0}, "Args": ["a", "b"], "Gone": None,
    "Config": {"Labels": {"b.c": "2", "a": "1"}, "Env": []}, "Label": {"a": "1"}.get,
}


@pytest.mark.parametrize(("source", "text"), [
    ("plain", "plain"), ("", ""), ("{{.Name}}", "/web"), ("{{ .State.ExitCode }}", "0"), ("{{$.Id}}", "abc"),
    ("{{.State.Running}}", "true"), ("{{.Args}}", "[a b]"), ("{{.Config.Labels}}", "map[a:1 b.c:2]"),
    ("{{.Gone}}", "<no value>"), ("{{json .Args}}", '["a","b"]'),
    ("{{json .State}}", '{"Running":true,"ExitCode":0}'), ("{{.Name | upper}}", "/WEB"),
    ('{{join .Args ", "}}', "a, b"), ('{{.Args | len | printf "%03d"}}', "002"),
    ('{{printf "%s=%v %q" .Id .State.ExitCode "x"}}', 'abc=0 "x"'),
    ('{{index .Config.Labels "b.c"}}', "2"), ("{{index .Args 1}}", "b"), ('{{.Label "a"}}', "1"),
    ("{{slice .Id 1}}", "bc"), ("{{truncate .Id 2}}", "ab"),
    ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
    ("{{if .Gone}}x{{else if .Args}}y{{else}}z{{end}}", "y"),
    ("{{if eq .Id \"abc\"}}same{{end}}", "same"), ("{{if and .Id (not .Gone)}}both{{end}}", "both"),
    ("{{range .Args}}<{{.}}>{{end}}", "<a><b>"), ("{{range .Config.Env}}x{{else}}none{{end}}", "none"),
    ("{{range $i, $a := .Args}}{{$i}}{{$a}}{{end}}", "0a1b"),
    ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a=1;b.c=2;"),
    ("{{with .State}}{{.ExitCode}}{{end}}", "0"), ("{{$x := .Id}}{{$x}}{{$x}}", "abcabc"),
    ("a {{- .Id -}} b", "aabcb"), ("{{/* note */}}x", "x"), ("{{`raw }}`}}", "raw }}"), ('{{"}}"}}', "}}"),
    ("{{println .Id}}", "abc\n"), ("{{if .State.Running}}{{if .Gone}}a{{else}}b{{end}}{{end}}", "b"),
])
def test_templates_mean_what_go_means(source, text):
    assert Template(source).render(DATA) == text


@pytest.mark.parametrize("source", [
    "{{", "{{.Name", "{{end}}", "{{else}}", "{{if .Name}}", "{{range .Args}}", "{{}}", "{{nope}}",
    "{{nope .Id}}", '{{printf "%d" .Id}}', '{{printf "%s"}}',
    "{{.Nope}}", "{{.State.Nope}}", "{{$x}}", "{{.Id | nope}}", "{{.Id .Name}}", "{{index .Args 9}}",
    "{{.Id | }}", "{{(.Id}}", "{{#}}", "{{if .Id}}{{else}}{{else}}{{end}}", "{{join .Id}}", "{{len 3}}",
])
def test_what_go_refuses_is_a_usage_error(source):
    with pytest.raises(UsageError, match="template: "):
        Template(source).render(DATA)


def test_an_unknown_field_is_told_with_those_there_are():
    with pytest.raises(UsageError, match="there are: Running, ExitCode"):
        Template("{{.State.Nope}}").render(DATA)


def test_headings_stand_where_values_would():
    template = Template('{{.ID}}\t{{upper .RunningFor}}\t{{.Label "a"}}\t{{.NewField}}')
    headings = template.headings({"ID": "CONTAINER ID", "RunningFor": "CREATED"})
    assert headings == "CONTAINER ID\tCREATED\ta\tNEW FIELD"
