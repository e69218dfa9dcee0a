"""What each layer type means: one layer, one short piece.  Importing this package registers them all."""

from __future__ import annotations

from cortex_core.layers import (
    activations as activations,
)
from cortex_core.layers import (
    adaptive_pool as adaptive_pool,
)
from cortex_core.layers import (
    attention as attention,
)
from cortex_core.layers import (
    bidirectional as bidirectional,
)
from cortex_core.layers import (
    conv as conv,
)
from cortex_core.layers import (
    conv_lstm as conv_lstm,
)
from cortex_core.layers import (
    conv_transpose as conv_transpose,
)
from cortex_core.layers import (
    dense as dense,
)
from cortex_core.layers import (
    depthwise as depthwise,
)
from cortex_core.layers import (
    dropout as dropout,
)
from cortex_core.layers import (
    embedding as embedding,
)
from cortex_core.layers import (
    flip as flip,
)
from cortex_core.layers import (
    global_pool as global_pool,
)
from cortex_core.layers import (
    local_response as local_response,
)
from cortex_core.layers import (
    masking as masking,
)
from cortex_core.layers import (
    merge as merge,
)
from cortex_core.layers import (
    noise as noise,
)
from cortex_core.layers import (
    normalization as normalization,
)
from cortex_core.layers import (
    pictures as pictures,
)
from cortex_core.layers import (
    plain_attention as plain_attention,
)
from cortex_core.layers import (
    pool as pool,
)
from cortex_core.layers import (
    positional as positional,
)
from cortex_core.layers import (
    prelu as prelu,
)
from cortex_core.layers import (
    recurrent as recurrent,
)
from cortex_core.layers import (
    sampling as sampling,
)
from cortex_core.layers import (
    scale as scale,
)
from cortex_core.layers import (
    shape as shape,
)
from cortex_core.layers import (
    time_distributed as time_distributed,
)
