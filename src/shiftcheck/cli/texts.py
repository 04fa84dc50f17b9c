"""What the command line says of itself."""

DESCRIPTION = "Test the translation (shift) equivariance of PyTorch modules."
EXAMPLES = """\
examples:
  shiftcheck demo
  shiftcheck geometry mypackage.models:UNet --shape 1,3,256,256
  shiftcheck check mypackage.models:UNet --arg width=64 --shape 1,3,64,80 --shifts 8,0 0,8
  shiftcheck invariance mypackage.models:Classifier --shape 8,3,64,64
  shiftcheck sizes mypackage.models:UNet --shape 1,3,225,225
  shiftcheck halo mypackage.models:UNet --shape 1,3,512,512 --tolerance 0.1 0.01
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
