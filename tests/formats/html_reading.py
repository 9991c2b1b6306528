"""Reads a report as a browser would, strictly: what is not well nested is an error."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br"}


class Element:
    """A tag with its attributes and what is inside."""

    def __init__(self, tag, attributes):
        self.tag, self.attributes, self.children = tag, dict(attributes), []

    @property
    def classes(self):
        return (self.attributes.get("class") or "").split()

    @property
    def text(self):
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    def every(self, tag, class_=None):
        """All elements within of that tag and class, in order."""
        for child in self.children:
            if isinstance(child, Element):
                if child.tag == tag and (class_ is None or class_ in child.classes):
                    yield child
                yield from child.every(tag, class_)

    def one(self, tag, class_=None):
        (found,) = self.every(tag, class_)
        return found


class Page(HTMLParser):
    def __init__(self, words):
        super().__init__(convert_charrefs=True)
        self.root = Element("", ())
        self._open = [self.root]
        self.feed(words)
        self.close()
        assert self._open == [self.root]

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        found = Element(tag, attrs)
        self._open[-1].children.append(found)
        if tag not in VOID:
            self._open.append(found)

    def handle_startendtag(self, tag, attrs):
        self._open[-1].children.append(Element(tag, attrs))

    def handle_endtag(self, tag):
        assert self._open.pop().tag == tag

    def handle_data(self, data):
        self._open[-1].children.append(data)


def parsed(words):
    return Page(words).root
