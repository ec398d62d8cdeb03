"""`proposals`: what could be tuned, and deciding about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from learning_pipeline.cli.output import echo_json, echo_table, printable
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.errors import ConfigurationError, UnknownProposalError
from learning_pipeline.settings import load_settings

if TYPE_CHECKING:
    from learning_pipeline.learning.proposals.composing import Proposal

# As `composing` has them; imported when needed, with the rest of it.
STATUSES: Final = ("preliminary", "proposed", "accepted", "rejected")

_note = click.option("--note", metavar="TEXT", help="Why, kept with the decision.")
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document.")


@click.group()
def proposals() -> None:
    """Changes that the telemetry suggests: look at them, accept or reject them."""


@proposals.command("list")
@click.option(
    "--status",
    "statuses",
    type=click.Choice(STATUSES),
    multiple=True,
    help="Only of this status; can be given several times.",
)
@_as_json
def list_(statuses: tuple[str, ...], *, as_json: bool) -> None:
    """All proposals, or those of a status; the most samples first.

    `preliminary` are those of fewer than 20 samples.
    """
    from learning_pipeline.learning.proposals.listing import (  # noqa: PLC0415 - slow
        list_proposals,
    )

    with stored_so_far(load_settings()) as store:
        listing = list_proposals(store, statuses=statuses)
    if as_json:
        echo_json(listing.proposals)
    elif listing.proposals:
        echo_table(
            ["id", "status", "samples", "last seen", "title"],
            [
                [
                    each.proposal_id,
                    each.status,
                    f"{each.evidence.sample_count:,}",
                    each.evidence.last_seen or "",
                    each.title,
                ]
                for each in listing.proposals
            ],
        )
    else:
        click.echo("No proposals.")
    if listing.left_out_count:
        click.echo(
            f"{listing.left_out_count:,} more, of fewer samples, are left out.",
            err=True,
        )


@proposals.command("show")
@click.argument("id_prefix", metavar="ID")
@_as_json
def show(id_prefix: str, *, as_json: bool) -> None:
    """One proposal: why, what to change, and the lines of telemetry behind it.

    ID is an id, or a beginning of it that no other has.
    """
    from learning_pipeline.learning.proposals.listing import (  # noqa: PLC0415 - slow
        find_proposal,
    )

    with stored_so_far(load_settings()) as store:
        try:
            proposal = find_proposal(store, id_prefix)
        except UnknownProposalError as error:
            raise click.UsageError(str(error)) from None
    if as_json:
        echo_json(proposal)
    else:
        _echo_proposal(proposal)


@proposals.command("accept")
@click.argument("id_prefix", metavar="ID")
@_note
def accept(id_prefix: str, note: str | None) -> None:
    """Accept a proposal; remembered for ever."""
    _decide(id_prefix, note, is_accepted=True)


@proposals.command("reject")
@click.argument("id_prefix", metavar="ID")
@_note
def reject(id_prefix: str, note: str | None) -> None:
    """Reject a proposal; it never comes back as a new one."""
    _decide(id_prefix, note, is_accepted=False)


@proposals.command("post")
@click.option("--dry-run", is_flag=True, help="Say what would be posted.")
def post(*, dry_run: bool) -> int:
    """Post what is proposed to PROPOSALS_URL, as tasks that need approval.

    Each once; neither preliminary nor decided ones. Exit code 1 when one could not be
    posted.
    """
    from learning_pipeline.learning.breakers import (  # noqa: PLC0415 - slow
        PROPOSALS_ENDPOINT,
        Breakers,
    )
    from learning_pipeline.learning.proposals.posting import (  # noqa: PLC0415 - slow
        post_proposals,
    )

    settings = load_settings()
    if not settings.proposals_url:
        message = (
            "nothing is posted anywhere: set LEARNING_PIPELINE_PROPOSALS_URL to the "
            "endpoint that takes tasks"
        )
        raise ConfigurationError(message)
    with stored_so_far(settings) as store:
        report = post_proposals(
            store,
            url=settings.proposals_url,
            api_key=settings.proposals_api_key,
            call=Breakers(store, settings).of(PROPOSALS_ENDPOINT).call,
            dry_run=dry_run,
        )
    would = "would be " if dry_run else ""
    for proposal_id in report.posted:
        click.echo(f"{proposal_id}: {would}posted")
    for failure in report.failures:
        click.echo(f"{failure.proposal_id}: {printable(failure.why)}", err=True)
    if not report.posted and not report.failures:
        click.echo("No proposals to post.")
    return int(bool(report.failures))


def _decide(id_prefix: str, note: str | None, *, is_accepted: bool) -> None:
    from learning_pipeline.learning.proposals.listing import decide  # noqa: PLC0415 - slow

    with stored_so_far(load_settings()) as store:
        try:
            decided = decide(store, id_prefix, accept=is_accepted, note=note)
        except UnknownProposalError as error:
            raise click.UsageError(str(error)) from None
    proposal = decided.proposal
    before = f" (was {decided.before})" if decided.before else ""
    title = printable(proposal.title)
    click.echo(f"{proposal.proposal_id} {proposal.status}{before}: {title}")


def _echo_proposal(proposal: Proposal) -> None:
    evidence, change = proposal.evidence, proposal.change
    lines = [
        f"{proposal.title}",
        "",
        f"id        {proposal.proposal_id}",
        f"kind      {proposal.kind}",
        f"subject   {proposal.subject}",
        f"status    {proposal.status}",
        f"why       {proposal.rationale}",
        f"change    {change.what}",
        f"from      {change.from_value or 'unknown, or none'}",
        f"to        {change.to_value}",
        f"samples   {evidence.sample_count:,}",
        f"first     {evidence.first_seen or 'unknown'}",
        f"last      {evidence.last_seen or 'unknown'}",
    ]
    if proposal.decided_at:
        lines.append(f"decided   {proposal.decided_at}")
    if proposal.note:
        lines.append(f"note      {proposal.note}")
    lines += [f"posted to {url}" for url in proposal.posted_to]
    lines += [
        f"example   {place.partition}, generation {place.generation}, "
        f"offset {place.offset}"
        for place in evidence.examples
    ]
    click.echo(printable("\n".join(lines)))
