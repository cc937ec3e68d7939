"""One plan in the making, of one of Apache's sites."""

from __future__ import annotations

from collections.abc import Callable

from wsgi_async.errors import ConfigError

from .apache_sites import Host, Site
from .apache_syntax import Directive
from .checked import KNOWN
from .report import Plan, Verdict
from .rules import Rule

__all__ = ["Handler", "Move"]

_LISTS = {name for name, spec in KNOWN.items() if spec.kind == "texts"}


class Move:
    """What handlers of directives are given: the site, and the plan that they fill."""

    def __init__(self, site: Site, plan: Plan) -> None:
        self.site = site
        self.plan = plan
        self._said: set[tuple[str, str]] = set()

    def host_of(self, directive: Directive) -> Host | None:
        """The virtual host that it stands in."""
        section = directive.around("virtualhost")
        if section is None:
            return None
        return next((host for host in self.site.hosts if host.where == section.where), None)

    def say(
        self, directive: Directive, rule: Rule, *, setting: str = "", value: str | None = None
    ) -> None:
        """What becomes of a directive, or of a part of it that has a name of its own."""
        value = directive.text if value is None else value
        self.plan.add(
            directive.where,
            setting or directive.name,
            value,
            rule.verdict,
            rule.text,
            matters=rule.matters,
        )

    def say_once(self, directive: Directive, rule: Rule) -> None:
        """Likewise, where only the first of its name is of interest."""
        said = directive.key, rule.text
        if said not in self._said:
            self._said.add(said)
            self.say(directive, rule)

    def take(
        self,
        directive: Directive,
        rule: Rule,
        value: object,
        *,
        setting: str = "",
        written: str | None = None,
    ) -> bool:
        """Make the option of a rule of it, and say so; where the option cannot have this value, say
        that it is missing.

        :returns: whether it could.
        """
        wanted = [value] if rule.option in _LISTS and isinstance(value, str) else value
        try:
            KNOWN[rule.option].parse(wanted)
        except ConfigError as error:
            refused = Rule(Verdict.MISSING, str(error), matters=True)
            self.say(directive, refused, setting=setting, value=written)
            return False
        if isinstance(wanted, list):
            self.plan.append(rule.option, *wanted)
        else:
            self.plan.options[rule.option] = wanted
        self.say(directive, rule, setting=setting, value=written)
        return True


Handler = Callable[[Move, Directive], None]
