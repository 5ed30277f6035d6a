"""The errors of RegionCap: the type says who has to act, and so whether a task is tried again.

    RegionCapError
    ├── RowError                 the row: it is rejected with a code and a reason, and no other row notices
    │   └── NoRegionError
    ├── PermanentError           trying again does not help: somebody has to change something, and the message says what
    │   ├── DropError              who made the drop
    │   │   ├── BoxFormatError
    │   │   └── TooManyRejectedError
    │   ├── RunError               who started the run, or looks after it
    │   │   ├── BuildRejectedError
    │   │   ├── CeilingError
    │   │   ├── CommitRefusedError
    │   │   ├── DropDateError
    │   │   ├── ModelProfileError
    │   │   ├── OtherModelError
    │   │   ├── ParamsError
    │   │   ├── RollBackError
    │   │   ├── StepMissingError
    │   │   └── SupersededError
    │   ├── DeploymentError        who looks after Airflow, the stores and the VLM
    │   │   ├── AccessDeniedError
    │   │   ├── ExtensionError
    │   │   ├── ManifestError
    │   │   ├── ServiceError
    │   │   ├── StorageError
    │   │   │   ├── ArchivedError
    │   │   │   ├── ForbiddenError
    │   │   │   └── LinkError
    │   │   └── VlmSetupError
    │   └── UnforeseenError        RegionCap's developers
    ├── TransientError           nobody: it may pass by itself, so the task is tried again
    │   ├── BrokenReadError
    │   ├── BuildIncompleteError
    │   ├── ChangedError
    │   ├── ConflictError
    │   ├── DropChangedError
    │   ├── PartitionBusyError
    │   ├── StorageUnavailableError
    │   └── VlmUnavailableError
    ├── NotFoundError            whoever asked for the file knows what it means that there is none
    ├── NothingPublishedError    the reader of a dataset
    ├── BuildGoneError           the reader of a dataset
    ├── CorrectionError          who corrects a dataset
    └── CorrectionConflictError  who corrects a dataset

What libraries raise (a connection lost, a full disk) is tried again as well, as everything is that is no
PermanentError.
"""


class RegionCapError(Exception):
    """Whatever RegionCap raises of its own. The message is for a person."""


class RowError(RegionCapError):
    """This row cannot be used.

    `code` is a `Code`, or the name of an installed gate; `reason` is a sentence for the person who made the drop.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class NoRegionError(RowError):
    """No box of a row can be used in its image.

    `size` is the image's (width, height) as displayed, in pixels, and `orientation` its EXIF orientation (1 to 8).
    """

    def __init__(self, code: str, reason: str, size: tuple[int, int], orientation: int) -> None:
        super().__init__(code, reason)
        self.size = size
        self.orientation = orientation


class PermanentError(RegionCapError):
    """Trying again does not help: somebody has to change something, and the message says what."""


class DropError(PermanentError):
    """The drop as a whole cannot be built: the message says why and what to do."""


class BoxFormatError(DropError):
    """The boxes are not in the declared format. The message names the format that they seem to be in."""


class TooManyRejectedError(DropError):
    """More rows are rejected than the run allows. The message says which codes lead."""


class RunError(PermanentError):
    """The run cannot go on as it was asked for, or as it stands: the message says what to choose or to clear."""


class BuildRejectedError(RunError):
    """A person did not want the build to be published. The message says who."""


class CeilingError(RunError):
    """The run's ceiling of requests, tokens or money is reached. The message says which, and what was used."""


class CommitRefusedError(RunError):
    """Another build of the partition was published first. The message says which."""


class DropDateError(RunError):
    """The run names no date, or two."""


class ModelProfileError(RunError):
    """The model is of another family than `model_profile` says. The message names both."""


class OtherModelError(RunError):
    """Another model is served now than the one that the build's answers are of. The message says what differs."""


class ParamsError(RunError):
    """The params do not describe a build: the message names the param and what would do."""


class RollBackError(RunError):
    """There is no such build to go back to. The message says which there are."""


class StepMissingError(RunError):
    """An earlier step left nothing behind, or nothing that can be read. The message says which one to run again."""


class SupersededError(RunError):
    """Another run has planned the date since, or this run has anew. The message says which, and what to clear."""


class DeploymentError(PermanentError):
    """A part of the deployment is not as it has to be: the message says which, and what to change there."""


class AccessDeniedError(DeploymentError):
    """No image of a shard may be read. The message says to what somebody has to give access."""


class ExtensionError(DeploymentError):
    """What an installed package adds (a gate, a detector ...) cannot be used. The message names the package."""


class ManifestError(DeploymentError):
    """The partition's manifest is damaged, or of a newer RegionCap. The message says what to do."""


class ServiceError(DeploymentError):
    """A service did not come up. The message ends with the last lines of its log."""


class StorageError(DeploymentError):
    """The place cannot be used as it is: the message says what is wrong and what to do."""


class ArchivedError(StorageError):
    """The file is in a storage class from which it has to be restored before it can be read."""


class ForbiddenError(StorageError):
    """The store says that this file may not be read or written."""


class LinkError(StorageError):
    """The path leads through a symbolic link, which is never followed."""


class VlmSetupError(DeploymentError):
    """The VLM's servers cannot answer as they are set up: the message says what to do."""


class UnforeseenError(PermanentError):
    """So many rows end in errors that something is wrong with RegionCap, or with what is installed beside it."""


class TransientError(RegionCapError):
    """It may pass by itself: the task is tried again."""


class BrokenReadError(TransientError, OSError):
    """A file did not arrive as it is: cut short, damaged on the way, or written meanwhile. It may the next time."""


class BuildIncompleteError(TransientError):
    """What lies in the build's folder is not what was to be published. Publishing again helps."""


class ChangedError(TransientError):
    """The file is not of the version that was asked for: it was written since."""


class ConflictError(TransientError):
    """A conditional write was refused: somebody else wrote first."""


class DropChangedError(TransientError):
    """The drop is not any more what was planned. It may be put back, so it is tried again."""


class PartitionBusyError(TransientError):
    """Another run builds the date. Trying again later helps."""


class StorageUnavailableError(TransientError, OSError):
    """A file could not be had, or put, for as long as it was tried. The message names it. Later it may be possible."""


class VlmUnavailableError(TransientError):
    """The VLM's servers did not answer for as long as they are given. Trying again later may help."""


class NotFoundError(RegionCapError):
    """There is no such file, and where its name is one that no file can have, there never will be."""


class NothingPublishedError(RegionCapError):
    """The partition has no published build."""


class BuildGoneError(RegionCapError):
    """A file of the build is not what its manifest says, or not there any more. Opening the current build may help."""


class CorrectionError(RegionCapError):
    """A correction cannot be entered as it is. The message says why."""


class CorrectionConflictError(RegionCapError):
    """Somebody else has corrected the same meanwhile: `by`, at the time `at` (UTC), who did what is `told`."""

    def __init__(self, by: str, at: str, told: str) -> None:
        super().__init__(f"{by} {told} meanwhile ({at}): look at it, and say what you mean then")
        self.by = by
        self.at = at
        self.told = told
