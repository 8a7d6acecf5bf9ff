"""Finds a server on the local network, when asked: the list, and which one decodes.

Owns the window of the menu's "Find a server…". Nothing is asked before the button is pressed.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
)

from app.view_models.settings.servers import ServersModel
from app.views.common.painted import Button, plain_tip, text_label
from app.views.window.tools import ToolContext, ToolView
from configs.plain import plain


class ServersView(ToolView):
    """Lists what announces itself; one can be chosen, with its ticket."""

    def __init__(self, model: ServersModel) -> None:
        super().__init__()
        self._model = model
        self.setMinimumSize(620, 320)
        about = text_label(
            "A server decodes for several headsets. It is asked for on this network when you press "
            "the button, and what it says of itself is no more than a name: the way in is the "
            "ticket that its owner made for this computer.",
            "muted",
        )
        about.setWordWrap(True)
        self.list = QTreeWidget()
        self.list.setHeaderLabels(["Server", "Address", "Decodes with"])
        self.list.setRootIsDecorated(False)
        self.list.setAccessibleName("Servers on the local network")
        self.list.setColumnWidth(0, 200)
        self.list.setColumnWidth(1, 240)
        self.said = text_label("", "muted")
        self.said.setWordWrap(True)
        self.search = Button("Ask the network", kind="primary")
        self.use = Button("Decode there…")
        self.here = Button("Decode on this machine")
        self.search.clicked.connect(self._search)
        self.use.clicked.connect(self._use)
        self.here.clicked.connect(self._here)
        self.list.itemSelectionChanged.connect(self.refresh)
        buttons = QHBoxLayout()
        for button in (self.search, self.use, self.here):
            buttons.addWidget(button)
        buttons.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 16, 18, 14)
        layout.setSpacing(12)
        layout.addWidget(about)
        layout.addWidget(self.list, 1)
        layout.addWidget(self.said)
        layout.addLayout(buttons)
        self.refresh()

    @property
    def url(self) -> str:
        """Address of the chosen server; empty while none is."""
        items = self.list.selectedItems()
        return str(items[0].data(0, Qt.ItemDataRole.UserRole)) if items else ""

    def refresh(self) -> None:
        """Show what was found."""
        if self._model.poll():
            self.list.clear()
            for each in self._model.servers:
                item = QTreeWidgetItem([each.name, each.url, each.system])
                item.setData(0, Qt.ItemDataRole.UserRole, each.url)
                item.setToolTip(0, plain_tip(each.name))
                self.list.addTopLevelItem(item)
        self.said.setText(plain(self._model.said, limit=None))
        self.search.setEnabled(not self._model.searching)
        self.use.setEnabled(bool(self.url))
        self.here.setEnabled(bool(self._model.remote))

    def shut_down(self) -> None:
        """End a search that is under way."""
        self._model.close()

    def _search(self) -> None:
        self._model.search()
        self.refresh()

    def _use(self) -> None:
        ticket = None
        if not self._model.has_ticket(self.url):
            name, _ = QFileDialog.getOpenFileName(
                self, f"The ticket for {self.url}", "", "Tickets (*.json);;All files (*)"
            )
            if not name:
                return
            ticket = Path(name)
        self._model.use(self.url, ticket)
        self.refresh()

    def _here(self) -> None:
        self._model.decode_here()
        self.refresh()


def make(context: ToolContext) -> ToolView:
    """Make the view for the menu."""
    return ServersView(ServersModel(context.settings))
