"""What modules take that keep directories, files and units."""


class ModuleDocFragment:
    """Options that ``ARGUMENTS`` of the module utility of this name defines."""

    DOCUMENTATION = r"""
options:
  directories:
    description: Directories to have, parents first.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      mode: {description: Permission., type: str, default: "0755"}
      owner: {description: Owner by name., type: str, default: root}
      group: {description: Group by name., type: str, default: root}
  files:
    description: Files to have.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: Text of the file., type: str, required: true}
      mode: {description: Permission., type: str, default: "0644"}
      owner: {description: Owner by name., type: str, default: root}
      group: {description: Group by name., type: str, default: root}
      validate:
        description: Program and arguments that must succeed first; V(%s) is the new file's path.
        type: list
        elements: str
        default: []
      secret: {description: Keep the text out of the diff., type: bool, default: false}
      read_by: &read_by
        description: Units of systemd that read the file when they start; without it O(units).
        type: list
        elements: str
  joined:
    description: Files to have that hold the elements of several JSON lists, one after the other.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      lists:
        description: Directory of the lists, C(*.json), which are taken in the order of their names.
        type: path
        required: true
      mode: {description: Permission., type: str, default: "0644"}
      owner: {description: Owner by name., type: str, default: root}
      group: {description: Group by name., type: str, default: root}
      read_by: *read_by
  blocks:
    description: Parts of files that others write in, too; each stands between two marked lines.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: Text of the part., type: str, required: true}
      marker:
        description: The marking lines; V({mark}) in it becomes V(BEGIN) and V(END).
        type: str
        required: true
      mode: {description: Permission., type: str, default: "0644"}
      owner: {description: Owner by name., type: str, default: root}
      group: {description: Group by name., type: str, default: root}
      read_by: *read_by
  units:
    description: Units of systemd to have enabled and running once the files are written, in order.
    type: list
    elements: str
    default: []
  reload:
    description:
      - Units that take up changed files by being reloaded; here and now, if they are outdated.
    type: list
    elements: str
    default: []
  notes:
    description: Directory of the notes; one that a reboot empties.
    type: path
    default: /run/kubedcos/outdated
  absent:
    description: Files that must not exist.
    type: list
    elements: path
    default: []
  purge:
    description:
      - Directories in which files that match the patterns are removed unless O(files) lists them.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Directory., type: path, required: true}
      patterns:
        description: Shell patterns of names, below it at any depth with V(**/).
        type: list
        elements: str
        required: true
      marker:
        description: A line that makes a file ours; all others stay, and directories left empty go.
        type: str
"""
