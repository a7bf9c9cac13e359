import math

import pytest
import torch
from torch import nn

from vjepa_gym.learning import layers
from vjepa_gym.learning.layers import (
    FEW,
    Attention,
    Block,
    Memory,
    Rope,
    RopeForm,
    check_heads,
    grid_positions,
    initialise,
    run_blocks,
)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def published_rotation(x: list[float], position: tuple[float, ...]) -> list[float]:
    """One head, word by word: tables tiled within an axis, pairs of neighbours, the rest as is."""
    part = 2 * (len(x) // 3 // 2)
    out = list(x)
    for axis in range(3):
        frequencies = [10_000 ** (-i / (part / 2)) for i in range(part // 2)]
        angles = [position[axis] * f for f in frequencies + frequencies]
        for i in range(0, part, 2):
            a, b = axis * part + i, axis * part + i + 1
            out[a] = x[a] * math.cos(angles[i]) - x[b] * math.sin(angles[i])
            out[b] = x[b] * math.cos(angles[i + 1]) + x[a] * math.sin(angles[i + 1])
    return out


@pytest.mark.parametrize("head_width", [6, 12, 20, 64, 88])
def test_rotation_is_the_published_one_number_for_number(
    head_width: int, generator: torch.Generator
) -> None:
    positions = torch.tensor([[0.0, 0, 0], [1, 2, 3], [7, 15, 0.5]])
    x = torch.randn(1, 1, 3, head_width, generator=generator)
    expected = [
        published_rotation(row.tolist(), tuple(position.tolist()))
        for row, position in zip(x[0, 0], positions, strict=True)
    ]
    torch.testing.assert_close(
        Rope.at(positions, head_width).rotate(x)[0, 0], torch.tensor(expected)
    )


def test_a_head_is_split_in_three_equal_even_parts_and_a_rest_that_stays() -> None:
    for axis, rotated in enumerate([range(20), range(20, 40), range(40, 60)]):
        position = torch.zeros(1, 3)
        position[0, axis] = 5.0
        moved = Rope.at(position, 64).rotate(torch.ones(1, 1, 1, 64))[0, 0, 0] != 1
        assert set(moved.nonzero()[:, 0].tolist()) == set(rotated)


def test_interleaved_rotation_keeps_lengths_and_sees_only_differences_of_position(
    generator: torch.Generator,
) -> None:
    query, key = torch.randn(2, 1, 1, 1, 64, generator=generator)

    def product(at_query: list[float], at_key: list[float]) -> torch.Tensor:
        a = Rope.at(torch.tensor([at_query]), 64, RopeForm.interleaved).rotate(query)
        b = Rope.at(torch.tensor([at_key]), 64, RopeForm.interleaved).rotate(key)
        torch.testing.assert_close(a.norm(), query.norm())
        return (a * b).sum()

    torch.testing.assert_close(
        product([1.0, 2, 3], [0.0, 4, 1]), product([4.0, 9, 5], [3.0, 11, 3])
    )


def test_tables_have_the_precision_of_the_positions() -> None:
    exact = Rope.at(grid_positions(3, 5, 7, dtype=torch.float64), 64)
    coarse = Rope.at(grid_positions(3, 5, 7), 64)
    assert exact.cos.dtype == torch.float64
    assert coarse.cos.dtype == torch.float32
    assert 0 < (exact.sin - coarse.sin).abs().max() < 1e-5


def test_the_published_tables_are_not_the_textbook_ones() -> None:
    position = torch.tensor([[1.0, 2.0, 3.0]])
    published, textbook = (Rope.at(position, 64, form) for form in RopeForm)
    assert not torch.allclose(published.cos, textbook.cos)


@pytest.mark.parametrize(("width", "heads"), [(100, 3), (96, 32), (14, 2), (8, 0)])
def test_widths_that_rotary_heads_cannot_share_are_refused(width: int, heads: int) -> None:
    with pytest.raises(ValueError, match=f"even whole number of at least 6, got {width} / {heads}"):
        check_heads(width, heads)
    check_heads(1408, 22)


@pytest.mark.parametrize("head_width", [4, 7])
def test_heads_that_cannot_be_split_are_refused(head_width: int) -> None:
    with pytest.raises(ValueError, match="even and at least 6"):
        Rope.at(torch.zeros(1, 3), head_width)


def test_positions_count_time_then_row_then_column() -> None:
    positions = grid_positions(2, 2, 3)
    assert positions.shape == (12, 3)
    assert positions[:4].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0]]
    assert positions[6].tolist() == [1, 0, 0]


def test_attention_is_softmax_of_scaled_products(generator: torch.Generator) -> None:
    attention = Attention(12, 2)
    initialise(attention, generator)
    x = torch.randn(1, 5, 12, generator=generator)
    query, key, value = attention.qkv(x).view(1, 5, 3, 2, 6).unbind(2)
    weights = (torch.einsum("bihd,bjhd->bhij", query, key) / math.sqrt(6)).softmax(-1)
    expected = attention.proj(torch.einsum("bhij,bjhd->bihd", weights, value).flatten(2))
    torch.testing.assert_close(attention(x, Rope.at(torch.zeros(5, 3), 6)), expected)


def attended(
    tokens: int, keys: int, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, ...]:
    """Return queries, keys and values of a training."""
    generator = torch.Generator().manual_seed(tokens)
    drawn = [torch.randn(2, 3, n, 8, generator=generator) for n in (tokens, keys, keys)]
    return tuple(one.to(dtype).requires_grad_() for one in drawn)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("dtype", "close"), [(torch.float32, 1e-6), (torch.float64, 1e-14), (torch.bfloat16, 0.03)]
)
def test_plain_attention_in_training_is_that_of_torch(
    monkeypatch: pytest.MonkeyPatch, masked: bool, dtype: torch.dtype, close: float
) -> None:
    query, key, value = attended(5, 9, dtype)
    mask = torch.ones(5, 9, dtype=torch.bool).tril(4) if masked else None
    way = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(0)).to(dtype)

    def with_gradients(gathered: torch.Tensor) -> list[torch.Tensor]:
        assert gathered.dtype == dtype
        return [gathered, *torch.autograd.grad((gathered * way).sum(), [query, key, value])]

    attend = nn.functional.scaled_dot_product_attention
    expected = with_gradients(attend(query, key, value, attn_mask=mask))
    monkeypatch.setattr(layers.nn.functional, attend.__name__, None)
    found = with_gradients(layers._gather(query, key, value, mask))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=close, rtol=close)


def test_many_tokens_and_inference_take_what_torch_has_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    attend = nn.functional.scaled_dot_product_attention

    def count(query: torch.Tensor, *rest: torch.Tensor, **named: object) -> torch.Tensor:
        asked.append(query.shape[2])
        return attend(query, *rest, **named)

    monkeypatch.setattr(layers.nn.functional, attend.__name__, count)
    side = math.isqrt(FEW)
    layers._gather(*attended(side, side), None)
    assert asked == []
    layers._gather(*attended(side, side + 1), None)
    assert asked == [side]
    query, key, value = (one.detach() for one in attended(5, 9))
    torch.testing.assert_close(
        layers._gather(query, key, value, None), layers._gather(*attended(5, 9), None)
    )
    assert asked == [side, 5]


def test_attention_in_half_precision_is_close_in_training(generator: torch.Generator) -> None:
    attention, rope = Attention(24, 2), Rope.at(grid_positions(1, 2, 3), 12)
    nn.init.normal_(attention.qkv.weight, std=0.2, generator=generator)
    x = torch.randn(2, 6, 24, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        half = attention(x, rope)
        with torch.no_grad():
            in_inference = attention(x, rope)
    assert half.dtype == in_inference.dtype == torch.bfloat16
    assert 0 < (half - attention(x, rope)).abs().mean() < 0.02
    assert (half - in_inference).abs().mean() < 0.01


def test_attention_refuses_a_width_that_its_heads_cannot_share() -> None:
    with pytest.raises(ValueError, match="divisible"):
        Attention(10, 3)


def test_attention_without_positions_sees_a_set(generator: torch.Generator) -> None:
    block = Block(12, 2)
    x, order = torch.randn(1, 5, 12, generator=generator), torch.tensor([3, 0, 4, 2, 1])
    torch.testing.assert_close(block(x[:, order], None), block(x, None)[:, order])


def test_a_masked_token_is_not_seen(generator: torch.Generator) -> None:
    block, rope = Block(12, 2), Rope.at(grid_positions(4, 1, 1), 6)
    x = torch.randn(2, 4, 12, generator=generator)
    causal = torch.ones(4, 4, dtype=torch.bool).tril()
    before = block(x, rope, causal)
    x[:, 3] = 0
    after = block(x, rope, causal)
    torch.testing.assert_close(after[:, :3], before[:, :3])
    assert not torch.allclose(after[:, 3], before[:, 3])


def test_tokens_are_a_set_but_for_their_positions(generator: torch.Generator) -> None:
    block, positions = Block(24, 2), grid_positions(1, 2, 4)
    x, order = torch.randn(1, 8, 24, generator=generator), torch.randperm(8, generator=generator)
    shuffled = block(x[:, order], Rope.at(positions[order], 12))
    torch.testing.assert_close(shuffled, block(x, Rope.at(positions, 12))[:, order])


def test_with_a_memory_a_prefix_is_computed_once(generator: torch.Generator) -> None:
    block, positions = Block(24, 2), grid_positions(1, 1, 6)
    x = torch.randn(2, 6, 24, generator=generator)
    causal = torch.ones(6, 6, dtype=torch.bool).tril()
    memory = Memory()
    first = block(x[:, :4], Rope.at(positions[:4], 12), causal[:4, :4], memory)
    rest = block(x[:, 4:], Rope.at(positions[4:], 12), causal[4:], memory)
    whole = block(x, Rope.at(positions, 12), causal)
    torch.testing.assert_close(torch.cat([first, rest], 1), whole)


@pytest.fixture
def stack(generator: torch.Generator) -> nn.ModuleList:
    blocks = nn.ModuleList(Block(24, 2) for _ in range(3))
    initialise(blocks, generator)
    return blocks


def test_blocks_run_one_after_the_other(stack: nn.ModuleList, generator: torch.Generator) -> None:
    x, rope = torch.randn(2, 6, 24, generator=generator), Rope.at(grid_positions(1, 2, 3), 12)
    causal = torch.ones(6, 6, dtype=torch.bool).tril()
    expected = stack[2](stack[1](stack[0](x, rope, causal), rope, causal), rope, causal)
    assert torch.equal(run_blocks(stack, x, rope, causal), expected)
    memories = [Memory() for _ in stack]
    assert torch.equal(run_blocks(stack, x, rope, causal, memories), expected)
    assert all(memory.keys is not None for memory in memories)
    with pytest.raises(ValueError, match="3 blocks need as many memories, got 2"):
        run_blocks(stack, x, rope, causal, memories[:2])


@pytest.mark.parametrize("rotated", [True, False])
def test_gradients_are_the_same_with_checkpointing_and_less_is_kept(
    stack: nn.ModuleList, generator: torch.Generator, rotated: bool
) -> None:
    rope = Rope.at(grid_positions(1, 2, 3), 12) if rotated else None
    x = torch.randn(2, 6, 24, generator=generator, requires_grad=True)
    causal = torch.ones(6, 6, dtype=torch.bool).tril()
    gradients, kept = [], []
    for checkpointing in (False, True):
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda saved, sizes=sizes: sizes.append(saved.numel()) or saved, lambda saved: saved
        ):
            y = run_blocks(stack, x, rope, causal, checkpointing=checkpointing)
        gradients.append(torch.autograd.grad(y.square().sum(), [x, *stack.parameters()]))
        kept.append(sum(sizes))
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)
    assert kept[1] < 0.2 * kept[0]


def test_a_block_with_a_memory_is_not_checkpointed(stack: nn.ModuleList) -> None:
    x, memories = torch.zeros(1, 2, 24), [Memory() for _ in stack]
    with pytest.raises(ValueError, match="cannot be checkpointed"):
        run_blocks(stack, x, None, None, memories, checkpointing=True)
    with torch.no_grad():
        run_blocks(stack, x, None, None, memories, checkpointing=True)


def test_initial_weights_depend_on_the_generator_alone_and_shrink_with_depth() -> None:
    first, second = (nn.ModuleList(Block(48, 2) for _ in range(8)) for _ in range(2))
    for stack in (first, second):
        initialise(stack, torch.Generator().manual_seed(3))
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    weights = first.state_dict()
    shallow, deep = weights["0.mlp.fc2.weight"].std(), weights["7.mlp.fc2.weight"].std()
    assert 0.015 < weights["7.attn.qkv.weight"].std() < 0.02
    assert shallow / deep == pytest.approx(math.sqrt(8), rel=0.05)
    assert not weights["3.attn.qkv.bias"].any()


def test_learnt_tokens_start_at_zero_even_where_memory_was_not_cleared() -> None:
    module = nn.ParameterList([torch.ones(1, 1, 4)])
    initialise(module, torch.Generator())
    assert not module[0].any()


@pytest.mark.parametrize(("channels", "kernel"), [(3, 4), (64, 2), (32, 3)])
def test_convolutions_of_images_keep_the_variance_of_what_they_are_given(
    channels: int, kernel: int
) -> None:
    convolution = nn.Conv2d(channels, 128, kernel)
    initialise(convolution, torch.Generator().manual_seed(0))
    he = math.sqrt(2 / (channels * kernel**2))
    assert convolution.weight.std().item() == pytest.approx(he, rel=0.05)
    assert convolution.weight.abs().max() > 2.5 * he, "it is not cut"
    assert convolution.bias is not None
    assert not convolution.bias.any()
    # Of rectified noise, as convolutions before it leave it.
    x = torch.randn(64, channels, kernel, kernel, generator=torch.Generator().manual_seed(1)).relu()
    y = convolution(x)
    assert y.square().mean().item() == pytest.approx(2 * x.square().mean().item(), rel=0.2)


def test_convolutions_of_video_are_drawn_as_linear_layers_are(generator: torch.Generator) -> None:
    convolution = nn.Conv3d(3, 64, (2, 4, 4))
    initialise(convolution, generator)
    assert 0.015 < convolution.weight.std() < 0.02
