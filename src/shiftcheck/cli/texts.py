"""What the command line says of itself."""

DESCRIPTION = "Test the translation (shift) equivariance of PyTorch modules."
EXAMPLES = """\
examples:
  shiftcheck demo
  shiftcheck geometry mypackage.models:UNet --shape 1,3,256,256
  shiftcheck check mypackage.models:UNet --arg width=64 --shape 1,3,64,80 --shifts 8,0 0,8
  shiftcheck invariance mypackage.models:Classifier --shape 8,3,64,64
  shiftcheck causality mypackage.models:Codec --shape 1,1,16000
  shiftcheck evaluate mypackage.models:Classifier --data photos --what invariance,classes
  shiftcheck sizes mypackage.models:UNet --shape 1,3,225,225
  shiftcheck halo mypackage.models:UNet --shape 1,3,512,512 --tolerance 0.1 0.01
  shiftcheck tiling mypackage.models:UNet --shape 1,3,20000,20000 --memory 2GiB
  shiftcheck streaming mypackage.models:Encoder --shape 1,1,16000
  shiftcheck check train.py:build_model --input photo.png --layer encoder.conv4 --json report.json

'shiftcheck COMMAND --help' says more of each command.
"""
CHECK = """\
Compare the output of a model for a shifted input with its shifted output, over the samples that see
no padding, and say whether they agree. A failure names the first guilty layer, the cause, the shift
and a remedy.

TARGET is package.module:name or path/to/file.py:name. The name is a torch.nn.Module, or a factory:
a class or function that makes one, with the keyword arguments given by --arg. With --function it is
itself the model, a function of the input.

The input comes from a file, or is white noise of a given shape, always the same for the same seed.
A shape is written as 1,3,64,80 or as it is printed, 1x3x64x80; a batch of one is put before 3,64,80
where the model takes it only so. Give --shape or --input once for each input of the model, in
order.
"""
CHECK_END = """\
exit status:
  0  the model is equivariant: proven by its structure, and seen
  1  it is not
  2  error: of usage, while loading the target, or raised by the model
  3  it cannot be told, for the reason that is printed; this is no pass

examples:
  shiftcheck check mypackage.models:UNet --shape 1,3,64,80
      shifts of one and more samples of the output along each axis
  shiftcheck check mypackage.models:UNet --arg width=64 --arg norm=batch --shape 1,3,64,80
      the factory is called with width=64 and norm='batch'
  shiftcheck check model.py:net --input photo.png --shifts 8,0 0,8 -8,16
      shifts of your own, in pixels: rows first; positive ones move content down and to the right
  shiftcheck check model.py:net --shape 1,1,32,32 --reach 5 --json - > report.json
      all 120 shifts of at most 5 pixels along each axis; only the report goes to the output
  shiftcheck check climate.py:Step --shape 1,8,64,128 --boundary valid,circular
      latitude is open, longitude is a circle
  shiftcheck check track.py:Siamese --shape 1,3,255,255 --shape 1,3,127,127 --fixed template
      only the first input moves; --fixed 1 says the same
"""
GEOMETRY = """\
Say from shapes alone, without running the model on values, what every layer does to a shift: the
effective stride, the period, the halo, the valid region, and what breaks equivariance.

TARGET is package.module:name or path/to/file.py:name, as in 'shiftcheck check'.
"""
GEOMETRY_END = """\
exit status:
  0  the geometry was printed, whatever it is
  2  error: of usage, while loading the target, or raised by the model

examples:
  shiftcheck geometry mypackage.models:UNet --shape 1,3,1024,2048
  shiftcheck geometry torch.nn:Conv2d --arg in_channels=1 --arg out_channels=4 \\
      --arg kernel_size=5 --shape 1,1,32,32
"""
INVARIANCE = """\
Compare the output of a model for a shifted input with its output for the input itself, relative to
what different signals give, and say whether it stays the same: for outputs without spatial axes, as
those of a classifier.

TARGET is package.module:name or path/to/file.py:name, as in 'shiftcheck check'.
"""
INVARIANCE_END = """\
exit status:
  0  the model is invariant, or changes by no more than --max-relative-error
  1  it is not
  2  error: of usage, while loading the target, or raised by the model
  3  it cannot be told, for the reason that is printed; this is no pass

examples:
  shiftcheck invariance mypackage.models:Classifier --shape 8,3,64,64
      on the torus, where shifts must change nothing beyond rounding
  shiftcheck invariance model.py:net --input photos.npy --crop 224,224 --max-relative-error 0.1
      photographs of which the model sees the middle; what a shift brings in is their own content
"""
LINEARITY = """\
Say whether a model is linear: whether phi(a f + b g) = a phi(f) + b phi(g), for random signals at
several amplitudes.

TARGET is package.module:name or path/to/file.py:name, as in 'shiftcheck check'.
"""
LINEARITY_END = """\
exit status:
  0  the model is linear; with --affine, also where it has a constant part, as a bias makes one
  1  it is not
  2  error: of usage, while loading the target, or raised by the model
  3  it cannot be told, for the reason that is printed; this is no pass

examples:
  shiftcheck linearity torch.nn:AvgPool2d --arg kernel_size=2 --shape 1,3,16,16
  shiftcheck linearity mypackage.models:Encoder --shape 1,3,64,64 --affine --json linear.json
"""
CAUSALITY = """\
Say whether an output depends on input samples that come after it: by the structure of the model,
and by runs in which all that comes behind a time is replaced. A failure names the layer that sees
too far, how it comes to, and by how many samples.

TARGET is package.module:name or path/to/file.py:name, as in 'shiftcheck check'.
"""
CAUSALITY_END = """\
exit status:
  0  the model is causal, but for the declared look-ahead: by its structure, and seen
  1  it is not
  2  error: of usage, while loading the target, or raised by the model
  3  it cannot be told, for the reason that is printed; this is no pass

examples:
  shiftcheck causality mypackage.models:TCN --shape 1,16,400
  shiftcheck causality mypackage.models:Enhancer --shape 1,1,16000 --lookahead 240
  shiftcheck causality mypackage.models:Codec --shape 1,1,16000 --block 320
      320 samples come together, and an output may see all of them
  shiftcheck causality mypackage.models:Decoder --shape 1,64,128 --axis 1
      batch, time, channels
"""
EVALUATE = """\
Measure over a whole set of data how far a model is from moving, or staying, with its input. The
geometry is read once, then the model runs bare on batches of items and their shifted copies. What
is found is counted and summed: the memory does not grow with the data.

TARGET is package.module:name or path/to/file.py:name, as in 'shiftcheck check'.

The data is an array [items, channels, *spatial] in a .npy file, or a folder: every .npy file in it,
[channels, *spatial], and every picture is an item, in the order of the names.
"""
EVALUATE_END = """\
exit status:
  0  every quantity was measured; nothing is judged
  2  error: of usage, while loading the target, or no item could be measured
  3  of some quantity nothing can be told, for the reason that is printed

examples:
  shiftcheck evaluate mypackage.models:UNet --data tiles.npy --draws 8 --max-shift 16
  shiftcheck evaluate mypackage.models:Classifier --data photos --what invariance,classes --reach 5
      every shift of at most five pixels; what enters is chosen with --fill
  shiftcheck evaluate model.py:net --data photos --checkpoint half.json --html report.html
      stopped at any moment, the same command goes on; the page shows the worst items
"""
SIZES = """\
Say which spatial sizes a model takes, and which of them keep padding even, leave a valid region,
and keep a circle closed; and the nearest that work to the given one, which the model need not take.

TARGET is package.module:name or path/to/file.py:name, as in 'shiftcheck check'.
"""
SIZES_END = """\
exit status:
  0  the sizes were printed, whether the given one is among them or not
  2  error: of usage, while loading the target, or raised by the model at every size

examples:
  shiftcheck sizes mypackage.models:UNet --shape 1,3,225,225
      in the JSON of --json, axes[0].accepted holds the sizes of the first axis
  shiftcheck sizes climate.py:Step --shape 1,8,64,128 --boundary valid,circular
      on the circle, also the sizes at which every layer holds a whole number of samples around it
"""
HALO = """\
Measure how far from the edge of a tile the unknown outside still changes the output by more than a
tolerance, next to the theoretical halo: an overlap of tiles is chosen by it. Distances up to three
eighths of the input are measured, so give one that is larger than the overlap.

TARGET is package.module:name or path/to/file.py:name, as in 'shiftcheck check'.
"""
HALO_END = """\
exit status:
  0  it was measured: a distance was found, or the error levels off and none is enough
  2  error: of usage, while loading the target, or raised by the model
  3  nothing can be told: an output without numbers to tell, or an input that is too small

examples:
  shiftcheck halo mypackage.models:UNet --shape 1,3,512,512
  shiftcheck halo mypackage.models:UNet --input photo.png --tolerance 0.1 0.01
      an image of the kind that the model is for tells more than noise
  shiftcheck halo model.py:net --shape 1,1,256,256 --layers --json halo.json
"""
TILING = """\
Say which tiles of an image give what the model gives on the whole of it: their halo, the grid on
which they begin, the sizes that work and what they cost; or which layers keep any from doing so.

TARGET is package.module:name or path/to/file.py:name, as in 'shiftcheck check'. The model is looked
at in eval mode. Of a large shape no values are drawn: its structure alone is read.
"""
TILING_END = """\
exit status:
  0  the tiles give what the whole gives, with statistics that are pooled first where need be
  2  error: of usage, while loading the target, or raised by the model
  3  they do not, because of the layers that are named, or it cannot be told

examples:
  shiftcheck tiling mypackage.models:UNet --shape 1,3,1024,2048 --tile 512
  shiftcheck tiling mypackage.models:UNet --shape 1,3,20000,20000 --memory 2GiB --json plan.json
      from the JSON, shiftcheck.TilingPlan.from_json makes what shiftcheck.tiled runs
  shiftcheck tiling climate.py:Step --shape 1,8,720,1440 --boundary valid,circular
      tiles go on at the other end of a circle of longitude
"""
STREAMING = """\
Say from the structure what a model has to remember to run on a stream chunk by chunk: how far it
looks back and ahead, on which grid chunks begin, how late an output is, and what each layer keeps;
or which layers make that no finite state is enough.

TARGET is package.module:name or path/to/file.py:name, as in 'shiftcheck check'.
"""
STREAMING_END = """\
exit status:
  0  a finite state suffices
  1  none does, because of the layers that are named
  2  error: of usage, while loading the target, or raised by the model
  3  it is not known; this is no pass

examples:
  shiftcheck streaming mypackage.models:Encoder --shape 1,1,16000
  shiftcheck streaming mypackage.models:Recogniser --shape 1,500,80 --axis 1 --spatial-dims 1
      batch, time, features
"""
SHARDING = """\
Say from shapes alone what every layer needs of other shards when an image is split over devices
along one axis: the halo on each side in samples of the layer's own input, the statistics that are
to be reduced over all shards, and what keeps shards from giving what the whole gives; where shards
may begin, how narrow they may be, and how many bytes the halos are.

TARGET is package.module:name or path/to/file.py:name, as in 'shiftcheck check'.
"""
SHARDING_END = """\
exit status:
  0  halos and reduced statistics are enough
  1  they are not: a layer sees everything, goes along the axis, or is not understood
  2  error: of usage, while loading the target, or raised by the model

examples:
  shiftcheck sharding mypackage.models:Decoder --shape 1,4,128,128 --parts 4
      along the last axis, as evenly as the strides allow
  shiftcheck sharding mypackage.models:Decoder --shape 1,4,128,128 --parts 2 --axis 2 --bounds 0,48
      along the rows, with shards of 48 and 80
"""
DEMO = """\
Check a LeNet on real digits that move over a canvas, and show in a film what moves with them. It
takes about half a minute, says first what it does, and needs no network.
"""

RENDER = """\
Show a report that was written with --json, of any command: as text, and as a page with --html.
Nothing is computed.

FILE is the report, or - for the input.
"""
RENDER_END = """\
exit status:
  0  the report was shown, whatever its verdict
  2  the file is no report, or is one of a newer version

examples:
  shiftcheck render report.json
  shiftcheck render report.json --html report.html
"""
EXPLAIN = """\
Say what a word of a report means: a cause, such as STRIDE, or a reason, such as 'no valid region'.
"""
EXPLAIN_END = """\
exit status:
  0  it is known, and was explained
  2  there is no such cause and no such reason

examples:
  shiftcheck explain STRIDE
  shiftcheck explain no valid region
"""
